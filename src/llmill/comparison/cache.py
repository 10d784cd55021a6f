"""What DVC keeps of results: files by their hash, and runs by their command. Only read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from llmill.comparison.made import Made, read
from llmill.contract import elsewhere, yaml_file
from llmill.contract.errors import UserError
from llmill.contract.record import files_under

FOLDER = ".dir"  # at the end of the hash of one


class Cache:
    """DVC's cache, and behind it the work tree, where a file of that hash may lie as well."""

    def __init__(self, files: Path, runs: Path):
        self._files, self._runs = files, runs
        self._listed: dict[tuple[str, str], dict[str, str] | None] = {}
        self._read: dict[Path, Made | None] = {}

    def read(self, md5: str, path: str) -> bytes | None:
        """What the file of a hash holds; `path`: where it lay. None if nobody has it."""
        cached = self._file(md5)
        if cached.is_file():
            return cached.read_bytes()
        here = Path(path)
        content = here.read_bytes() if here.is_file() else None
        return content if content is not None and _md5(content) == md5 else None

    def files(self, md5: str, path: str) -> dict[str, str] | None:
        """The hashes of a folder's files by their names in it; None if nobody has the list."""
        if (md5, path) not in self._listed:
            cached = self._file(md5)
            content = cached.read_bytes() if cached.is_file() else None
            found = _listed(content) if content else _hashed(Path(path))
            known = content is not None or (found and folder_hash(found) == md5)
            self._listed[md5, path] = found if known else None
        return self._listed[md5, path]

    def has(self, made: Made) -> bool:
        """Whether the lists of all that a run left are known."""
        return all(self.files(md5, out) is not None for out, md5 in made.outs.items())

    def runs(self, commands: set[str]) -> list[Made]:
        """The results that DVC's run cache has of these commands, the newest first."""
        files = [file for cmd in sorted(commands) for file in self._by_command.get(cmd, [])]
        newest = sorted(files, key=lambda file: (-file.stat().st_mtime, file))
        for file in newest:
            if file not in self._read:
                self._read[file] = read(_parsed(file))
        return [made for made in map(self._read.get, newest) if made]

    def hash_of(self, made: Made, path: str) -> str | None:
        """The hash that a run gave to a file or folder of its output; None if nobody knows it."""
        for out, md5 in made.outs.items():
            if path == out:
                return md5
            if path.startswith(f"{out}/"):
                return hash_inside(self.files(md5, out) or {}, path.removeprefix(f"{out}/"))
        return None

    @cached_property
    def _by_command(self) -> dict[str, list[Path]]:
        """Its files by their first line, which is the command: most need not be parsed."""
        found: dict[str, list[Path]] = {}
        for file in sorted(self._runs.glob("*/*/*")):
            with file.open(encoding="utf-8", errors="replace") as lines:
                cmd = next(lines, "").rstrip("\n")
            if cmd.startswith("cmd: ") and not file.suffix:
                found.setdefault(cmd.removeprefix("cmd: "), []).append(file)
        return found

    def _file(self, md5: str) -> Path:
        return self._files / md5[:2] / md5[2:]


def open_cache() -> Cache:
    """That of the repository; raises `UserError` where DVC has none. DVC's own `Repo` would write
    into `.dvc` as it opens.
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
    return Cache(folder / "files" / "md5", folder / "runs")


def folder_hash(files: Mapping[str, str]) -> str:
    """DVC's hash of a folder, by the hashes of its files."""
    listed = [{"md5": files[name], "relpath": name} for name in sorted(files)]
    return _md5(json.dumps(listed, sort_keys=True).encode()) + FOLDER


def hash_inside(files: Mapping[str, str], name: str) -> str | None:
    """DVC's hash of a file or folder inside a folder; None where there is none."""
    if name in files:
        return files[name]
    below = {
        f.removeprefix(f"{name}/"): md5 for f, md5 in files.items() if f.startswith(f"{name}/")
    }
    return folder_hash(below) if below else None


def _parsed(file: Path) -> Any:
    """A file of the run cache; None for one that is damaged."""
    try:
        return yaml_file.parse(file.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _listed(content: bytes) -> dict[str, str] | None:
    """The files of a `.dir` file of the cache."""
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
