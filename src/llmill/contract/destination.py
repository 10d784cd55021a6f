"""Where a user wants a file: looked at before the work that fills it."""

from pathlib import Path

from llmill.contract.errors import UserError


def check(path: Path) -> None:
    """Raises `UserError` for a folder, and for a file in a folder that is not there."""
    if path.is_dir():
        raise UserError(f"{path}: cannot be written: a folder; name a file in it")
    if not path.parent.is_dir():
        raise UserError(f"{path}: cannot be written: there is no folder {path.parent}")
