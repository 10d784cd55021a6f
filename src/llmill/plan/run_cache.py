"""The results that DVC can check out instead of a run: the one in `dvc.lock`, and those that its
run cache knows by command, dependencies and parameters.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import PipelineStage
    from dvc_data.hashfile.hash_info import HashInfo

Entry = dict[str, Any]  # a stage as `dvc.lock` holds it: cmd, deps, params, outs


class RunCache:
    """Reads what `dvc.stage.cache.StageCache` wrote."""

    def __init__(self, repo: Repo):
        self._repo = repo
        self._folder = Path(repo.stage_cache.cache_dir)
        self._read: dict[Path, Entry] = {}

    def entries(self, stage: PipelineStage, unknown: set[str]) -> list[Entry]:
        """Return the results for the stage's inputs, newest first. For dependencies that are not
        known yet, any content counts.
        """
        entry = as_entry(stage)
        key = _key(entry, unknown)
        if not unknown:
            files = list((self._folder / key[:2] / key).glob("*"))
        else:
            files = [f for f in self._folder.glob("*/*/*") if _names(f, stage.cmd)]
            files = [f for f in files if _key(self._load(f), unknown) == key]
        return [self._load(f) for f in sorted(files, key=lambda f: -f.stat().st_mtime)]

    def is_whole(self, stage: PipelineStage, entry: Entry) -> bool:
        """Return whether every file of a result is in DVC's cache."""
        cached = self._repo.stage_cache._create_stage(entry, wdir=stage.wdir)
        return cached.outs_cached()

    def _load(self, file: Path) -> Entry:
        from dvc.utils.serialize import load_yaml

        if file not in self._read:
            self._read[file] = load_yaml(str(file))
        return self._read[file]


def as_entry(stage: PipelineStage) -> Entry:
    """Return a stage with the hashes that its objects hold."""
    from dvc.stage.serialize import to_single_stage_lockfile

    return to_single_stage_lockfile(stage)


def hash_in(entry: Entry, out: Output) -> HashInfo:
    """Return the hash of a stage's output in one of its results."""
    from dvc_data.hashfile.hash_info import HashInfo

    return HashInfo("md5", next(o["md5"] for o in entry["outs"] if o["path"] == out.def_path))


def _names(file: Path, cmd: str) -> bool:
    return f"cmd: {cmd}\n" in file.read_text(encoding="utf-8")


def _key(entry: Entry, unknown: set[str]) -> str:
    """Return the key by which DVC names a result, without these dependencies."""
    from dvc.utils import dict_sha256

    deps = [dep for dep in entry.get("deps", []) if dep["path"] not in unknown]
    outs = [out["path"] for out in entry["outs"]]
    return dict_sha256({**entry, "deps": deps, "outs": outs}, exclude=["size", "nfiles"])
