"""Users' tables as data frames of text: CSV, TSV, JSON lines, a JSON list, Parquet.

A cell is text as written in the file. Numbers and truth values of JSON and Parquet are written as
in JSON (`1`, not `1.0`), so that a label is the same word in every file format.
"""

import csv
import difflib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from llmill.contract import elsewhere
from llmill.contract.errors import SettingError, UserError
from llmill.tasks import rows
from llmill.text.files import table_endings
from llmill.text.files.encoding import decode

LIKELY = ",;\t|"  # common delimiters of columns
FORM = 'expected {"column": value, ...}'


def read(
    path: Path,
    columns: Sequence[str | int],
    encoding: str | None = None,
    delimiter: str | None = None,
    quotes: bool = True,
) -> pd.DataFrame:
    """Read these columns in this order: one row per row of the table, with text or None in each
    cell.

    Columns given by number are those of a table without a header row. Raises `UserError` for a file
    that is not such a table, and for a missing column.
    """
    names_given = [column for column in columns if isinstance(column, str)]
    frame = read_all(path, encoding, delimiter, quotes, bool(names_given), names_given or None)
    if isinstance(columns[0], int):
        return _by_number(path, frame, columns)
    names = list(frame.columns)
    for column in columns:
        if column not in names:
            raise UserError(f"{path}: no column '{column}'; {_hint(column, names)}")
        if names.count(column) > 1:
            raise UserError(f"{path}: {names.count(column)} columns '{column}'; rename one")
    return frame[list(columns)]


def read_all(
    path: Path,
    encoding: str | None = None,
    delimiter: str | None = None,
    quotes: bool = True,
    header: bool = True,
    wanted: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Read every column. If `wanted` is given and rows are objects, only the wanted columns are
    filled. Raises `UserError` as `read` does.
    """
    if path.suffix in table_endings.ROWS:
        frame = _frame(path, rows.read(path, encoding), wanted)
    elif path.suffix in table_endings.DELIMITERS:
        separator = delimiter or table_endings.DELIMITERS[path.suffix]
        text = decode(path.read_bytes(), path, encoding)
        frame = _separated(path, text, separator, quotes, header)
    else:
        known = ", ".join(table_endings.TABLES)
        raise UserError(f"{path}: its ending is none of {known}; export it as one, or rename it")
    if frame.empty:
        raise UserError(f"{path}: no rows in it")
    return frame


def _separated(path: Path, text: str, delimiter: str, quotes: bool, header: bool) -> pd.DataFrame:
    """Split a text into rows. Quoted fields may hold delimiters and line ends; blank lines do not
    count.

    Pandas' own reader is not used: it silently accepts a quotation mark that is never closed, or
    that has text after it, and loses rows with it.
    """
    reader = rows.separated(text, delimiter, quotes)
    table: list[list[str]] = []
    try:
        for row in reader:
            if row and table and len(row) != len(table[0]):
                raise csv.Error(f"{len(row)} columns where the first row has {len(table[0])}")
            if row:
                if header and not table:
                    _refuse_single_column(path, row, delimiter)
                table.append(row)
    except csv.Error as error:
        hint = "; or, if quotation marks are text, say `quotes: false`" if quotes else ""
        raise UserError(
            f"{path}, line {reader.line_num}: {error}, with delimiter {delimiter!r}; fix it{hint}"
        ) from None
    if not table:
        raise UserError(f"{path}: an empty file")
    if quotes and delimiter == "\t" and (number := rows.fused(table, delimiter)) is not None:
        raise UserError(
            f"{path}, row {number + 1}: a cell in quotation marks holds whole rows; if quotation "
            "marks are text, say `quotes: false`"
        )
    names = table.pop(0) if header else range(1, len(table[0]) + 1)
    return pd.DataFrame(table, columns=list(names), dtype=object)


def _refuse_single_column(path: Path, names: list[str], delimiter: str) -> None:
    """Refuse a first row that another delimiter would separate."""
    other = max(LIKELY, key=names[0].count)
    if len(names) == 1 and other in names[0]:
        raise SettingError(
            f"{path}: its first row is {elsewhere.quoted(names[0])}, a single column with "
            f"delimiter {delimiter!r}; ",
            as_key=f"set delimiter to {json.dumps(other)}",
            as_option=f"name it: --delimiter {json.dumps(other)}",
        )


def _frame(
    path: Path, entries: Iterable[rows.Placed], wanted: Sequence[str] | None
) -> pd.DataFrame:
    """Convert rows that are objects to a frame of text. A table with bytes, such as pictures, is
    accepted if other columns are wanted.
    """
    objects: list[dict[str, str | None]] = []
    for number, (where, entry) in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise UserError(f"{path}, row {number}: {FORM}, found {json.dumps(entry)[:40]}")
        objects.append(
            {
                str(name): rows.cell(value, f"{where}, '{name}'")
                if (not isinstance(value, bytes) if wanted is None else name in wanted)
                else None
                for name, value in entry.items()
            }
        )
    columns = dict.fromkeys(name for row in objects for name in row)
    return pd.DataFrame(
        {name: pd.Series([row.get(name) for row in objects], dtype=object) for name in columns}
    )


def _by_number(path: Path, frame: pd.DataFrame, columns: Sequence[str | int]) -> pd.DataFrame:
    beyond = next((c for c in columns if isinstance(c, int) and c > len(frame.columns)), None)
    if beyond:
        raise UserError(f"{path}: no column {beyond}; it has {len(frame.columns)}")
    return frame[[frame.columns[c - 1] for c in columns if isinstance(c, int)]]


def _hint(column: str | int, columns: Iterable[Any]) -> str:
    names = [str(name) for name in columns]
    near = difflib.get_close_matches(str(column), names, n=1)
    return f"did you mean '{near[0]}'?" if near else f"it has {', '.join(names[:20])}"
