"""Rows of a file that a user brings: a JSON list, JSON lines, or Parquet, recognized by the
content, whatever the file's ending.
"""

import csv
import io
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from llmill.contract import elsewhere
from llmill.contract.errors import UserError
from llmill.text.files.encoding import decode
from llmill.text.halves import without_halves

PARQUET = b"PAR1"
PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")  # gzip, zstd
LONGEST_CELL = 1 << 28  # characters

Placed = tuple[str, Any]  # the place of a row, for messages about it, and the row


def read(path: Path, encoding: str | None = None) -> list[Placed]:
    """Read every row with its place; `encoding` is for text that is not Unicode. Raises `UserError`
    for a file without rows, or of another kind.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{path}: missing; correct the path of a file of your own, or run stage download again "
            "for a file of a source"
        ) from None
    if content.startswith(PACKED):
        raise UserError(f"{path}: compressed; unpack it first (gunzip, unzstd)")
    if content.startswith(PARQUET) or path.suffix == ".parquet":
        rows = _of_parquet(content, path)
    else:
        text = decode(content, path, encoding)
        first = text.lstrip()[:1]
        rows = _of_list(text, path) if first == "[" else _of_lines(text, path)
    if not rows:
        raise UserError(f"{path}: empty; expected a list of entries, or an entry a line")
    return rows


def separated(text: str, delimiter: str, quotes: bool = True) -> Any:
    """Return a reader of CSV rows or, without `quotes`, of lines in which quotation marks are text.
    The reader raises `csv.Error`.
    """
    csv.field_size_limit(max(LONGEST_CELL, csv.field_size_limit()))
    lines = io.StringIO(text, newline="")
    if not quotes:
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=delimiter, strict=True)


def fused(table: Sequence[Sequence[str]], delimiter: str) -> int | None:
    """Return the first row, from 0, with a cell that holds the end of one row and the beginning of
    another; None if there is none.

    This happens if quotation marks that are text in two rows were taken for both ends of a quoted
    cell. Such a cell looks like rows of this table, and one of the fields in it occurs in the same
    column elsewhere, as a label does.
    """
    columns = [set(cells) for cells in zip(*table, strict=True)]
    others = len(columns) - 1
    for number, row in enumerate(table):
        for place, each in enumerate(row):
            first, *between = (line.split(delimiter) for line in each.split("\n"))
            if not between or (len(first), len(between[-1])) != (others - place + 1, place + 1):
                continue
            behind = zip(columns[place + 1 :], first[1:], strict=True)
            before = zip(columns[:place], between[-1][:-1], strict=True)
            seen = any(field in column for column, field in (*behind, *before))
            if seen and all(len(line) == others + 1 for line in between[:-1]):
                return number
    return None


def cell(value: Any, where: str) -> str | None:
    """Return a cell, also a list or an object, as it would be written; None for an empty cell.

    Numbers and truth values are written as in JSON, and whole numbers without a decimal point.
    Raises `UserError` for bytes.
    """
    if value is None or (isinstance(value, float | Decimal) and value != value):
        return None
    if isinstance(value, str):
        return without_halves(value)
    if isinstance(value, bytes):
        raise UserError(f"{where}: a cell of bytes; write it as text")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return str(int(value))
    if isinstance(value, bool | int | float | list | dict):
        return without_halves(json.dumps(value, ensure_ascii=False, default=str))
    return str(value)


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
    """Parse one value per line; a single value may span several lines."""
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
        table = parquet.ParquetFile(io.BytesIO(content)).read()
        twice = next((n for n in table.column_names if table.column_names.count(n) > 1), None)
        if twice is not None:
            raise UserError(f"{path}: several columns '{twice}'; rename one")
        rows = table.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a Parquet file that can be read ({reason})") from None
    return [(f"{path}, row {number} of {len(rows)}", row) for number, row in enumerate(rows, 1)]
