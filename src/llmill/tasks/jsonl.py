"""Prepared rows on disk: one JSON object per line."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from llmill.contract import elsewhere, record
from llmill.contract.errors import UserError

RESTORE = "`dvc checkout` restores it, or run stage prepare again"
Row = TypeVar("Row")


def write(path: Path, rows: Iterable[Any]) -> None:
    """Write rows, given as dataclasses or dicts of their fields, whole or not at all."""
    fields = (row if isinstance(row, dict) else asdict(row) for row in rows)
    lines = (json.dumps(each, ensure_ascii=False) + "\n" for each in fields)
    record.write_bytes(path, "".join(lines).encode())


def read(path: Path, kind: type[Row]) -> list[Row]:
    """Read rows of the dataclass `kind`. Raises `UserError` that names file and line."""
    if not path.exists():
        raise UserError(f"{path}: missing; {RESTORE}")
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            if line:
                rows.append(kind(**elsewhere.parsed(line)))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}, line {number}: not a row ({error}); {RESTORE}") from None
    return rows
