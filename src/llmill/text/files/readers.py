"""Reads the texts in a user's file: the whole of a `.txt` or `.md`, or each row of a `.jsonl` or
`.parquet`. All except `.parquet` may be packed as `.gz` or `.zst`.

A file that is broken, or does not hold what its name says, is refused in one line with its row.
"""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llmill.contract import elsewhere
from llmill.contract.errors import UserError
from llmill.text.files import endings
from llmill.text.files.encoding import decoded

COLUMN = "text"  # its name in the web corpora
BATCH = 1024  # rows of a parquet file in memory at a time
BLOCK = 1 << 20  # bytes of a text file that are decoded together
LINES = "a .jsonl has one object a line"

Row = tuple[str, dict[str, Any]]  # the row's name in errors (its file and number), and the row


def texts(file: Path, column: str | None, encoding: str | None) -> Iterator[str]:
    """Iterate over the texts of a file, in order, without those that are null.

    `column`: the column of the text of a row, `text` if None. `encoding`: of a text file, UTF-8 or
    UTF-16 if None. Raises `UserError` that names file and row.
    """
    elsewhere.refuse_other_than_files(file)
    form = endings.of(file.name)
    if form == ".parquet":
        return _parquet(file, column or COLUMN)
    if form in endings.LINES:
        return _column(rows(file, encoding), column or COLUMN)
    return iter(["".join(_pieces(file, encoding))])


def rows(file: Path, encoding: str | None) -> Iterator[Row]:
    """Iterate over the rows of JSON lines or a `.parquet`, each with its name in errors. Memory
    holds a block of the file and its longest row.
    """
    if endings.of(file.name) != ".parquet":
        return _json_lines(_lines(_pieces(file, encoding)), file)
    table = (row for batch in _batches(file, None) for row in batch.to_pylist())
    return ((f"{file}, row {number}", row) for number, row in enumerate(table, 1))


def _pieces(file: Path, encoding: str | None) -> Iterator[str]:
    return decoded(_unpacked(file), file, encoding)


def _unpacked(file: Path) -> Iterator[bytes]:
    """Yield the bytes of a file in blocks."""
    kind = endings.packing(file.name)
    try:
        with pa.input_stream(str(file), compression=kind) as stream:
            while block := stream.read(BLOCK):
                yield block
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file}: not whole {kind or 'to read'} ({_reason(error)})") from None


def _lines(pieces: Iterator[str]) -> Iterator[str]:
    """Yield the lines of a text that comes in pieces. Only `\\n` ends a line."""
    begun: list[str] = []  # the parts of a line whose end has not come yet
    for piece in pieces:
        end, *lines = piece.split("\n")
        begun.append(end)
        if lines:
            yield "".join(begun)
            begun = [lines.pop()]
            yield from lines
    yield "".join(begun)


def _json_lines(lines: Iterator[str], file: Path) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if not line or line.isspace():
            continue
        where = f"{file}, row {number}"
        try:
            row = elsewhere.parsed(line)
        except ValueError as error:
            raise UserError(f"{where}: not JSON ({error}); {LINES}") from None
        if not isinstance(row, dict):
            raise UserError(f"{where}: {_kind(row)}; {LINES}")
        yield where, row


def _column(table: Iterator[Row], column: str) -> Iterator[str]:
    for where, row in table:
        if column not in row:
            raise UserError(f"{where}: {_absent(column, list(row))}")
        value = row[column]
        if not isinstance(value, str | None):
            raise UserError(f"{where}: '{column}' is {_kind(value)}, expected text")
        if value is not None:
            yield value


def _kind(value: Any) -> str:
    kind = {list: "a list", dict: "an object", str: "a text", type(None): "null"}.get(type(value))
    return kind or f"{elsewhere.quoted(value)}"


def _parquet(file: Path, column: str) -> Iterator[str]:
    for batch in _batches(file, column):
        yield from (text for text in batch.column(0).to_pylist() if text is not None)


def _batches(file: Path, column: str | None) -> Iterator[pa.RecordBatch]:
    """Yield a table in batches of rows: only one column of text, or every column."""
    try:
        with pq.ParquetFile(file) as table:
            if column is not None:
                _check_column(table.schema_arrow, column, file)
            yield from table.iter_batches(BATCH, columns=column and [column])
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not a whole parquet file ({_reason(error)})") from None


def _check_column(schema: pa.Schema, column: str, file: Path) -> None:
    if column not in schema.names:
        raise UserError(f"{file}: {_absent(column, schema.names)}")
    if schema.names.count(column) > 1:
        raise UserError(f"{file}: {schema.names.count(column)} columns '{column}'; rename one")
    kind = schema.field(column).type
    value_kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not any(
        is_text(value_kind)
        for is_text in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    ):
        raise UserError(f"{file}: column '{column}' holds {kind}, expected text")


def _absent(column: str, names: list[str]) -> str:
    near = difflib.get_close_matches(column, names, n=1)
    listed = elsewhere.quoted(", ".join(names))
    hint = f"did you mean '{near[0]}'?" if near else f"there are {listed}"
    return f"no column '{column}'; {hint} (`column:` of its source names another)"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
