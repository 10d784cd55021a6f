"""Files of rows: told by what they hold, in the encodings that programs write."""

import gzip
import json

import pyarrow
import pytest
from pyarrow import parquet

from llmill.contract.errors import UserError
from llmill.tasks import rows

ENTRIES = [{"a": [{"b": "c", "d": "e"}]}, {"f": "Say é\u2028.", "g": "é"}]
LINES = "\n".join(json.dumps(entry, ensure_ascii=False) for entry in ENTRIES)


def read(folder, content: bytes, name: str = "data.json") -> list:
    (folder / name).write_bytes(content)
    return rows.read(folder / name)


@pytest.mark.parametrize("name", ["data.json", "data.jsonl", "data.txt"])
@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ENTRIES).encode(),
        json.dumps(ENTRIES, ensure_ascii=False, indent=2).encode("utf-16"),
        json.dumps(ENTRIES, ensure_ascii=False).encode("utf-8-sig"),
        LINES.encode(),
        ("\r\n" + LINES.replace("\n", "\r\n\r\n")).encode("utf-8-sig"),
        LINES.replace("\n", "\r").encode("utf-16"),
    ],
)
def test_json_and_json_lines_are_told_by_what_they_hold(tmp_path, name, content):
    assert [row for _, row in read(tmp_path, content, name)] == ENTRIES


def test_parquet_is_read_whatever_its_name(tmp_path):
    every = {"a": None, "f": None, "g": None}
    table = pyarrow.Table.from_pylist([every | entry for entry in ENTRIES])
    parquet.write_table(table, tmp_path / "data.json")
    assert rows.read(tmp_path / "data.json") == [
        (f"{tmp_path}/data.json, row 1 of 2", every | ENTRIES[0]),
        (f"{tmp_path}/data.json, row 2 of 2", every | ENTRIES[1]),
    ]


def test_one_object_may_stand_on_several_lines(tmp_path):
    content = json.dumps(ENTRIES[0], indent=2).encode()
    assert read(tmp_path, content) == [(f"{tmp_path}/data.json, entry 1 of 1", ENTRIES[0])]


def test_a_row_says_where_it_stands(tmp_path):
    assert read(tmp_path, b'\n{"a": 1}\n\n{"a": 2}') == [
        (f"{tmp_path}/data.json, line 2", {"a": 1}),
        (f"{tmp_path}/data.json, line 4", {"a": 2}),
    ]
    assert read(tmp_path, b"[1]") == [(f"{tmp_path}/data.json, entry 1 of 1", 1)]


DEEP = b"[" * 200_000 + b"]" * 200_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty; expected a list of entries, or an entry a line"),
        (b" \n", "empty; expected"),
        (b"[]", "empty; expected"),
        (b"[{", "not JSON"),
        (b'[{"a": "b"},\n {"a": "c"},\n]', r"not JSON .*: line [23] column \d+"),
        (b'{"a": "b"},\n{"a": "c"}', "neither JSON nor JSON lines .*: line 1 column"),
        (b"a,b\nc,d", r"neither JSON nor JSON lines .*: line 1 column 1 "),
        (DEEP, "not JSON .more than 64 objects and lists in one another"),
        (b'{"a": ' + DEEP + b"}", "neither JSON nor JSON lines .more than 64 objects"),
        (b"[\n\xe9]", "not UTF-8 at byte 2"),
        (b"\x00\xff\xfe[a", "not text in UTF-8 at byte 1 but a binary file"),
        (b"PAR1 and no more", "not a Parquet file that can be read"),
        (gzip.compress(b'{"a": 1}'), r"compressed; unpack it first \(gunzip, unzstd\)"),
    ],
)
def test_what_holds_no_rows_is_one_line(tmp_path, content, said):
    with pytest.raises(UserError, match=rf"data\.json(, row \d)?: {said}") as refused:
        read(tmp_path, content)
    assert "\n" not in str(refused.value)


def in_parquet(folder, columns, names):
    file = folder / "data.parquet"
    parquet.write_table(pyarrow.Table.from_arrays(columns, names), file)
    return file


def test_a_date_beyond_the_calendar_and_two_columns_of_a_name_are_said(tmp_path):
    far = pyarrow.array([10_000_000], pyarrow.int32()).cast(pyarrow.date32())
    with pytest.raises(UserError, match=r"data\.parquet: not a Parquet file that can be read"):
        rows.read(in_parquet(tmp_path, [far], ["day"]))
    with pytest.raises(UserError, match=r"data\.parquet: several columns 'a'; rename one"):
        rows.read(in_parquet(tmp_path, [pyarrow.array([1])] * 2, ["a", "a"]))


def test_a_line_that_is_not_json_is_named(tmp_path):
    with pytest.raises(UserError, match=r"data\.json, line 2: neither JSON nor .*column 7"):
        read(tmp_path, b'{"a": "b"}\n{"a": }')


def test_a_missing_file_is_named_with_what_to_do_about_one_s_own_and_a_source_s(tmp_path):
    file = tmp_path / "data.json"
    with pytest.raises(UserError) as refused:
        rows.read(file)
    assert str(refused.value) == (
        f"{file}: missing; correct the path of a file of your own, or run stage download again for "
        "a file of a source"
    )
