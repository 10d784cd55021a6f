"""Reads what stage `download` wrote into the folder of a role: its sources and their files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmill.contract import elsewhere, record
from llmill.contract.errors import UserError
from llmill.contract.known import SOURCES
from llmill.text.files import endings, table_endings

Form = dict[str, Any] | None  # how a user's own files are read; None for other sources


def read_sources(folder: Path) -> list[dict[str, Any]]:
    """Return the sources that stage `download` recorded for a role; none if the role is null."""
    entries: list[dict[str, Any]] = record.read_json(folder / SOURCES)
    return entries


def the_file(folder: Path, form: Form) -> tuple[Path, str | None]:
    """Return the one file of a role, and the encoding given for a user's own file."""
    if not form:
        return one_file(folder), None
    return folder / Path(form["file"]).name, form["encoding"]


def the_files(folder: Path) -> list[tuple[str, Path, str | None]]:
    """Return name, file and encoding of each source of a role. Each source has one file."""
    entries, listed = read_sources(folder), folder / SOURCES
    if len(entries) == 1:
        return [(source_name(entries[0]), *the_file(folder, entries[0].get("own")))]
    found = []
    for entry in entries:
        paths = [elsewhere.inside(folder, file["path"], listed) for file in entry["files"]]
        path = _only(paths, f"{listed}: {entry['name']}")
        found.append((source_name(entry), path, entry.get("own", {}).get("encoding")))
    return found


def source_name(entry: dict[str, Any]) -> str:
    """Return the name of a source in `params.yaml`."""
    return endings.without(entry["own"]["file"]) if "own" in entry else entry["name"]


def one_file(folder: Path) -> Path:
    """Return the one file of rows of a role, besides `sources.json` and notes."""
    files = sorted(path for path in record.files_under(folder) if path.name != SOURCES)
    return _only(files, str(folder))


def _only(files: Sequence[Path], where: str) -> Path:
    """The one file of rows; others beside it are notes, such as a licence."""
    rows = [path for path in files if path.suffix in table_endings.ROWS] or list(files)
    if len(rows) != 1:
        names = ", ".join(path.name for path in rows) or "none"
        more = "; list each as a source of its own" if rows else ""
        raise UserError(f"{where}: expected one file of data, found {names}{more}")
    return rows[0]
