"""Tables as people bring them, each form with its awkward rows."""

import datetime
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llmill.contract.errors import UserError
from llmill.tasks import tables

ROWS = [("Hello,\nyou", "1"), ('He said "no"', "2"), ("", "1")]


def rows(path, columns=("text", "label"), **how):
    return list(tables.read(path, list(columns), **how).itertuples(index=False, name=None))


def file(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


CSV = '\ufefflabel,text,other\r\n1,"Hello,\nyou",x\r\n2,"He said ""no""",y\r\n\r\n1,,z\r\n'


def test_a_csv_of_a_spreadsheet(tmp_path):
    assert rows(file(tmp_path, "a.csv", CSV)) == ROWS
    assert rows(file(tmp_path, "b.csv", CSV[1:].encode("utf-16"))) == ROWS
    assert (
        rows(file(tmp_path, "c.tsv", CSV.replace(",", "\t").replace("Hello\t", "Hello,"))) == ROWS
    )
    semicolons = file(tmp_path, "d.csv", "text;label\nHello;1\n")
    assert rows(semicolons, delimiter=";") == [("Hello", "1")]


def test_cells_are_text_as_written_also_what_looks_like_a_number_or_nothing(tmp_path):
    path = file(tmp_path, "a.csv", "text,label\n007,NA\n1.0,null\ntrue,None\n")
    assert rows(path) == [("007", "NA"), ("1.0", "null"), ("true", "None")]


def test_columns_by_number_are_of_a_table_without_names(tmp_path):
    path = file(tmp_path, "a.tsv", "1\tHello\n2\tYou\n")
    assert rows(path, (2, 1)) == [("Hello", "1"), ("You", "2")]
    with pytest.raises(UserError, match=r"a\.tsv: no column 3; it has 2"):
        rows(path, (3, 1))


def test_columns_by_number_are_of_objects_in_the_order_of_their_names(tmp_path):
    path = file(tmp_path, "a.jsonl", '{"label": 1, "text": "Hello"}\n{"label": 2, "text": "You"}\n')
    assert rows(path, (2, 1)) == [("Hello", "1"), ("You", "2")]


def test_quotation_marks_may_be_text(tmp_path):
    path = file(tmp_path, "a.tsv", 'text\tlabel\n"Hi\t1\nyou" all\t2\n')
    assert rows(path, quotes=False) == [('"Hi', "1"), ('you" all', "2")]
    with pytest.raises(UserError, match="quotes: false"):
        rows(path)
    path = file(tmp_path, "b.tsv", 'text\tlabel\n"Hi\t1\nyou\t2\nall"\t1\n')
    with pytest.raises(UserError, match="row 2: a cell in quotation marks holds whole rows"):
        rows(path)


JSON = [{"label": 1, "text": "a"}, {"text": "b", "label": 2.0}, {"text": None, "label": True}, {}]


@pytest.mark.parametrize("name", ["a.jsonl", "list.jsonl", "a.json", "lines.json"])
def test_json_is_a_list_or_lines_whatever_the_ending_says(tmp_path, name):
    lines = "\n".join(map(json.dumps, JSON)) + "\n\n"
    content = lines if name in ("a.jsonl", "lines.json") else json.dumps(JSON)
    assert rows(file(tmp_path, name, content)) == [
        ("a", "1"), ("b", "2"), (None, "true"), (None, None),
    ]  # fmt: skip


def test_parquet_keeps_whole_numbers_whole(tmp_path):
    table = pa.table({"text": ["a", None], "label": pa.array([1, None], pa.int64())})
    pq.write_table(table, tmp_path / "a.parquet")
    assert rows(tmp_path / "a.parquet") == [("a", "1"), (None, None)]


def test_cells_that_are_neither_text_nor_number_are_as_they_would_be_written(tmp_path):
    days = [datetime.date(2026, 11, 29), None]
    table = pa.table({"text": pa.array(days), "label": pa.array([Decimal("1.0"), Decimal("2.5")])})
    pq.write_table(table, tmp_path / "a.parquet")
    assert rows(tmp_path / "a.parquet") == [("2026-11-29", "1"), (None, "2.5")]
    others = {"picture": [b"x"], "large": pa.array([Decimal(10**37)], pa.decimal128(38, 0))}
    pq.write_table(pa.table({"text": ["a"], "label": [1], **others}), tmp_path / "c.parquet")
    assert rows(tmp_path / "c.parquet") == [("a", "1")]
    assert rows(tmp_path / "c.parquet", ("large", "label")) == [(str(10**37), "1")]
    assert list(tables.read_all(tmp_path / "c.parquet").iloc[0]) == ["a", "1", None, str(10**37)]
    pq.write_table(pa.table({"text": [b"hello"], "label": [1]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet, row 1 of 1, 'text': a cell of bytes"):
        rows(tmp_path / "b.parquet")


def test_half_a_character_in_json_is_the_sign_for_what_cannot_be_read(tmp_path):
    path = file(tmp_path, "a.jsonl", r'{"text": "cut off \ud83d", "label": ["\ud83d"]}')
    assert rows(path) == [("cut off \ufffd", '["\ufffd"]')]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.csv",
            "text;label\nHello, you;1\n",
            "single column with delimiter ','; set delimiter to \";\"",
        ),
        ("a.csv", "text,label,text\na,1,b\n", "a.csv: 2 columns 'text'; rename one"),
        ("a.csv", "txt,label\na,1\n", "no column 'text'; did you mean 'txt'"),
        ("a.csv", "subject,queue\na,1\n", "no column 'text'; it has subject, queue"),
        ("a.csv", "text;label\na;1\n", "single column with delimiter ','; set delimiter to \";\""),
        (
            "a.csv",
            "text,label\na,1\nb,c,2\n",
            "a.csv, line 3: 3 columns where the first row has 2, with delimiter ','",
        ),
        ("a.csv", "", "an empty file"),
        ("a.csv", "text,label\n", "no rows in it"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0", "binary file"),
        ("a.csv", "text,label\ncaf\xe9,1\n".encode("latin-1"), "row 2: not UTF-8 at byte 14"),
        ("a.jsonl", '{"text": "a"}\n{"text": \n', "a.jsonl, line 2: neither JSON nor JSON lines"),
        ("a.jsonl", '"text"\n', 'row 1: expected {"column": value, ...}, found "text"'),
        ("a.json", "[1]", 'row 1: expected {"column": value, ...}, found 1'),
        ("a.json", "[null]", 'row 1: expected {"column": value, ...}, found null'),
        ("a.json", "[" * 200_000, "not JSON"),
        ("a.parquet", "PAR1", "not a Parquet file"),
        ("a.parquet", "text,label", "not a Parquet file"),
        ("a.xlsx", "PK", r"its ending is none of \.csv"),
    ],
)
def test_what_is_no_such_table_is_one_line(tmp_path, name, content, said):
    with pytest.raises(UserError, match=said) as error:
        rows(file(tmp_path, name, content))
    assert "\n" not in str(error.value)
