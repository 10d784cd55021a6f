"""Rows of a file that somebody brings: a list in JSON, JSON lines, or Parquet, told apart by what
it holds, whatever its name ends with.
"""

import io
from pathlib import Path
from typing import Any

from llmill.contract import elsewhere
from llmill.contract.errors import UserError
from llmill.text.encoding import decode

PARQUET = b"PAR1"

Placed = tuple[str, Any]  # where a row stands, for a message about it, and the row


def read(path: Path, encoding: str | None = None) -> list[Placed]:
    """Every row with its place; `encoding` of what is no Unicode. Raises `UserError` for a file
    without rows, or of another kind.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{path}: missing; correct the path of a file of your own, or run stage download again "
            "for a file of a source"
        ) from None
    if content.startswith(PARQUET) or path.suffix == ".parquet":
        rows = _of_parquet(content, path)
    else:
        text = decode(content, path, encoding)
        first = text.lstrip()[:1]
        rows = _of_list(text, path) if first == "[" else _of_lines(text, path)
    if not rows:
        raise UserError(f"{path}: empty; expected a list of entries, or an entry a line")
    return rows


def _of_list(text: str, path: Path) -> list[Placed]:
    try:
        entries = elsewhere.parsed(text)
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    return [
        (f"{path}, entry {number} of {len(entries)}", entry)
        for number, entry in enumerate(entries, 1)
    ]


def _of_lines(text: str, path: Path) -> list[Placed]:
    """A value a line; one alone may stand on several."""
    lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    rows: list[Placed] = []
    for number, line in lines:
        try:
            rows.append((f"{path}, line {number}", elsewhere.parsed(line)))
        except ValueError as error:
            where = f"{path}, line {number}" if rows else str(path)
            if not rows and len(lines) > 1:
                return _alone(text, path)
            raise UserError(f"{where}: neither JSON nor JSON lines ({error})") from None
    return rows


def _alone(text: str, path: Path) -> list[Placed]:
    try:
        return [(f"{path}, entry 1 of 1", elsewhere.parsed(text))]
    except ValueError as error:
        raise UserError(f"{path}: neither JSON nor JSON lines ({error})") from None


def _of_parquet(content: bytes, path: Path) -> list[Placed]:
    import pyarrow
    from pyarrow import parquet

    try:
        rows = parquet.read_table(io.BytesIO(content)).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a Parquet file that can be read ({reason})") from None
    return [(f"{path}, row {number} of {len(rows)}", row) for number, row in enumerate(rows, 1)]
