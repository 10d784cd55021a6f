"""The mark of a result that is not made because its role has no data: a small file in its place."""

from pathlib import Path

from llmill.contract import record

NAME = "skipped.json"
KEY = "skipped"  # key of the reason, in the mark and in a stage's metrics


def write(folder: Path, reason: str) -> None:
    """Write the mark into a folder, and make the folder if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    record.write_json(folder / NAME, {KEY: reason})


def reason(folder: Path) -> str | None:
    """Return why nothing was made, or None if something was."""
    mark = folder / NAME
    return record.read_json(mark)[KEY] if mark.is_file() else None
