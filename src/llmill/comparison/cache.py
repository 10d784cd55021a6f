"""Read what DVC keeps of results: files by their hash, and runs by their command."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from llmill.comparison.stage_runs import StageRun, read
from llmill.contract import elsewhere, yaml_file
from llmill.contract.errors import UserError
from llmill.contract.record import files_under

FOLDER = ".dir"  # how the hash of a folder ends


class DvcCache:
    """DVC's cache, and after it the work tree, which may also hold a file with a given hash."""

    def __init__(self, files: Path, runs: Path):
        self._files, self._runs = files, runs
        self._listed: dict[tuple[str, str], dict[str, str] | None] = {}
        self._read: dict[Path, StageRun | None] = {}

    def read(self, md5: str, path: str) -> bytes | None:
        """Return the content of the file with a hash, or None if nobody has it; `path`: where it
        lay.
        """
        cached = self._file(md5)
        if cached.is_file():
            return cached.read_bytes()
        here = Path(path)
        content = here.read_bytes() if here.is_file() else None
        return content if content is not None and _md5(content) == md5 else None

    def files(self, md5: str, path: str) -> dict[str, str] | None:
        """Return the hashes of a folder's files by name, or None if nobody has the list."""
        if (md5, path) not in self._listed:
            cached = self._file(md5)
            content = cached.read_bytes() if cached.is_file() else None
            files = _listed(content) if content else _hashed(Path(path))
            known = content is not None or (files and folder_hash(files) == md5)
            self._listed[md5, path] = files if known else None
        return self._listed[md5, path]

    def has(self, run: StageRun) -> bool:
        """Return whether the lists of all files that a run left are known."""
        return all(self.files(md5, out) is not None for out, md5 in run.outs.items())

    def runs(self, commands: set[str]) -> list[StageRun]:
        """Return the results of these commands in DVC's run cache, newest first."""
        files = [file for cmd in sorted(commands) for file in self._by_command.get(cmd, [])]
        newest = sorted(files, key=lambda file: (-file.stat().st_mtime, file))
        for file in newest:
            if file not in self._read:
                self._read[file] = read(_parsed(file))
        return [run for run in map(self._read.get, newest) if run]

    def hash_of(self, run: StageRun, path: str) -> str | None:
        """Return the hash that a run gave to a file or folder of its output, or None if it is not
        known.
        """
        for out, md5 in run.outs.items():
            if path == out:
                return md5
            if path.startswith(f"{out}/"):
                return hash_inside(self.files(md5, out) or {}, path.removeprefix(f"{out}/"))
        return None

    @cached_property
    def _by_command(self) -> dict[str, list[Path]]:
        """Files of the run cache by their first line, the command: most need not be parsed."""
        files: dict[str, list[Path]] = {}
        for file in sorted(self._runs.glob("*/*/*")):
            with file.open(encoding="utf-8", errors="replace") as lines:
                cmd = next(lines, "").rstrip("\n")
            if cmd.startswith("cmd: ") and not file.suffix:
                files.setdefault(cmd.removeprefix("cmd: "), []).append(file)
        return files

    def _file(self, md5: str) -> Path:
        return self._files / md5[:2] / md5[2:]


def open_cache() -> DvcCache:
    """Open the repository's cache. Raises `UserError` if DVC has none. DVC's own `Repo` would write
    into `.dvc` when it opens.
    """
    from dvc.config import Config
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        own = Repo.find_dvc_dir()
        chosen = Config(dvc_dir=own)["cache"].get("dir")
    except DvcException as error:
        raise UserError(yaml_file.one_line(f"DVC: {error}")) from None
    folder = Path(chosen or Path(own, "cache"))
    return DvcCache(folder / "files" / "md5", folder / "runs")


def folder_hash(files: Mapping[str, str]) -> str:
    """Return DVC's hash of a folder, from the hashes of its files."""
    listed = [{"md5": files[name], "relpath": name} for name in sorted(files)]
    return _md5(json.dumps(listed, sort_keys=True).encode()) + FOLDER


def hash_inside(files: Mapping[str, str], name: str) -> str | None:
    """Return DVC's hash of a file or folder inside a folder, or None if it does not exist."""
    if name in files:
        return files[name]
    below = {
        f.removeprefix(f"{name}/"): md5 for f, md5 in files.items() if f.startswith(f"{name}/")
    }
    return folder_hash(below) if below else None


def _parsed(file: Path) -> Any:
    """Return the value of a file of the run cache, or None if it is damaged."""
    try:
        return yaml_file.parse(file.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _listed(content: bytes) -> dict[str, str] | None:
    """Return the files that a `.dir` file of the cache lists."""
    try:
        listed: Any = elsewhere.parsed(content)
        return {str(each["relpath"]): str(each["md5"]) for each in listed}
    except (ValueError, TypeError, KeyError):
        return None


def _hashed(folder: Path) -> dict[str, str] | None:
    if not folder.is_dir():
        return None
    return {
        file.relative_to(folder).as_posix(): _md5(file.read_bytes()) for file in files_under(folder)
    }


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
