"""Check where a user wants a file, before the work that fills it."""

from pathlib import Path

from llmill.contract.errors import UserError


def check(path: Path) -> None:
    """Raise `UserError` for a folder, and for a file in a folder that does not exist."""
    if path.is_dir():
        raise UserError(f"{path}: cannot be written: a folder; name a file in it")
    if not path.parent.is_dir():
        raise UserError(f"{path}: cannot be written: there is no folder {path.parent}")
