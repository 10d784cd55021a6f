"""The mark of what is not made since its role has no data: a small file in place of the result."""

from pathlib import Path

from llmill.contract import record

NAME = "skipped.json"
KEY = "skipped"  # of the reason, in the mark and among a stage's figures


def write(folder: Path, reason: str) -> None:
    """Leave the mark in a folder, which is made where it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    record.write_json(folder / NAME, {KEY: reason})


def reason(folder: Path) -> str | None:
    """Why nothing was made, or None where something was."""
    mark = folder / NAME
    return record.read_json(mark)[KEY] if mark.is_file() else None
