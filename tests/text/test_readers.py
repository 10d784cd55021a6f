"""Every form that a file of text may come in, and what a broken one is told."""

import gzip
import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llmill.contract.errors import UserError
from llmill.text.files import endings, readers

ROWS = [{"id": 1, "text": "Çafé\none"}, {"id": 2, "text": ""}, {"text": None}, {"text": "two"}]
TEXTS = ["Çafé\none", "", "two"]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def parquet(path, **columns) -> bytes:
    pq.write_table(pa.table(columns), path / "made", row_group_size=2)
    return (path / "made").read_bytes()


def texts(path, name, content, column=None, encoding=None) -> list[str]:
    (path / name).write_bytes(content)
    return list(readers.texts(path / name, column, encoding))


@pytest.mark.parametrize(
    ("name", "ending", "packing"),
    [
        ("a.txt", ".txt", None),
        ("a.b.md", ".md", None),
        ("a.jsonl.gz", ".jsonl", "gzip"),
        ("a.txt.zst", ".txt", "zstd"),
        ("a.parquet", ".parquet", None),
        ("a.parquet.gz", None, "gzip"),
        ("a.pdf", None, None),
        ("README", None, None),
        ("txt", None, None),
    ],
)
def test_the_end_of_a_name_says_how_a_file_is_read(name, ending, packing):
    assert (endings.of(name), endings.packing(name)) == (ending, packing)


def test_a_text_file_is_one_text(tmp_path):
    assert texts(tmp_path, "a.txt", b"one\r\n\r\ntwo") == ["one\n\ntwo"]
    assert texts(tmp_path, "a.md", "# é".encode("utf-16")) == ["# é"]
    assert texts(tmp_path, "b.md", b"# \xe9", encoding="cp1252") == ["# é"]


def test_json_lines_are_a_text_a_row_without_blank_lines_and_nulls(tmp_path):
    assert texts(tmp_path, "a.jsonl", LINES.encode()) == TEXTS
    assert texts(tmp_path, "a.ndjson", LINES.encode()) == TEXTS
    assert texts(tmp_path, "a.jsonl", LINES.replace("\n", "\r\n\r\n").encode("utf-16")) == TEXTS
    assert texts(tmp_path, "a.jsonl", b'{"body": "x\xe9"}', "body", "latin-1") == ["xé"]
    line = '{"text": "a\u2028b\x85c"}\n'  # which str.splitlines would cut
    assert texts(tmp_path, "a.jsonl", line.encode()) == ["a\u2028b\x85c"]


def test_each_may_be_packed_in_one_part_or_in_several(tmp_path):
    content = LINES.encode()
    assert texts(tmp_path, "a.jsonl.gz", gzip.compress(content)) == TEXTS
    assert texts(tmp_path, "a.jsonl.gz", gzip.compress(content) * 2) == TEXTS * 2
    assert texts(tmp_path, "a.jsonl.zst", zstd(content)) == TEXTS
    assert texts(tmp_path, "a.jsonl.zst", zstd(content) * 2) == TEXTS * 2
    assert texts(tmp_path, "a.txt.gz", gzip.compress("é".encode("utf-16"))) == ["é"]
    assert texts(tmp_path, "a.md.zst", zstd(b"")) == [""]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)  # fmt: skip
def test_a_parquet_file_is_a_text_a_row(tmp_path, kind):
    column = pa.array([row["text"] for row in ROWS], pa.string()).cast(kind)
    content = parquet(tmp_path, text=column, n=[1, 2, 3, 4])
    assert texts(tmp_path, "a.parquet", content) == TEXTS
    content = parquet(tmp_path, **{"a.text": column})
    assert texts(tmp_path, "a.parquet", content, "a.text") == TEXTS


WHOLE = gzip.compress(LINES.encode(), mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"text": "a"}\n\n{"txet": "b"}', "a.jsonl, row 3: no column 'text'; did you mean 'txet'?"),
        ("a.jsonl", b'{"body": "b", "id": 1}', "a.jsonl, row 1: no column 'text'; there are 'body, id' (`column:` of"),
        ("a.jsonl", b'{"text": "a"}\n{"text": ', "a.jsonl, row 2: not JSON (Expecting value"),
        ("a.jsonl", b'[{"text": "a"}]', "a.jsonl, row 1: a list; a .jsonl has one object a line"),
        ("a.jsonl", b'[\n{"text": "a"}\n]', "a.jsonl, row 1: not JSON ("),
        ("a.jsonl", b'"text"', "a.jsonl, row 1: a text; a .jsonl has one object a line"),
        ("a.jsonl", b'{"text": ["a"]}', "a.jsonl, row 1: 'text' is a list, expected text"),
        ("a.jsonl", b'{"text": 12}', "a.jsonl, row 1: 'text' is 12, expected text"),
        ("a.jsonl", b'{"text": ' + b"[" * 200_000, "a.jsonl, row 1: not JSON (more than 64 objects"),
        ("a.jsonl", b'{"text": "\xe9"}', "a.jsonl, row 1: not UTF-8 at byte 10; set encoding to its own"),
        ("a.txt", WHOLE, "a.txt, row "),
        ("a.txt.gz", b"plain", "a.txt.gz: not whole gzip (zlib inflate failed"),
        ("a.txt.gz", WHOLE[:-9], "a.txt.gz: not whole gzip (Truncated"),
        ("a.txt.zst", WHOLE, "a.txt.zst: not whole zstd (ZSTD decompress failed"),
        ("a.txt.zst", zstd(LINES.encode())[:-3], "a.txt.zst: not whole zstd (Truncated"),
        ("a.parquet", b"", "a.parquet: not a whole parquet file (Parquet file size is 0 bytes)"),
        ("a.parquet", b"PAR1 cut off", "a.parquet: not a whole parquet file (Parquet magic"),
    ],
)  # fmt: skip
def test_what_is_not_as_its_name_says_is_refused_in_one_line(tmp_path, name, content, said):
    with pytest.raises(UserError) as refusal:
        texts(tmp_path, name, content)
    assert str(refusal.value).startswith(f"{tmp_path}/{said}")
    assert "\n" not in str(refusal.value)


def test_a_parquet_file_without_the_column_or_with_another_in_it_is_refused(tmp_path):
    content = parquet(tmp_path, tekst=["a"], n=[1])
    with pytest.raises(UserError, match=r"a\.parquet: no column 'text'; did you mean 'tekst'\?"):
        texts(tmp_path, "a.parquet", content)
    with pytest.raises(UserError, match=r"a\.parquet: column 'n' holds int64, expected text"):
        texts(tmp_path, "a.parquet", content, "n")
    broken = bytearray(parquet(tmp_path, text=[str(i) * 50 for i in range(100)]))
    broken[40:1000] = bytes(960)
    with pytest.raises(UserError, match=r"a\.parquet: not a whole parquet file \("):
        texts(tmp_path, "a.parquet", bytes(broken))


def test_a_parquet_file_with_two_columns_of_that_name_is_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    file = tmp_path / "a.parquet"
    pq.write_table(table, file)
    with pytest.raises(UserError, match=r"a\.parquet: 2 columns 'text'; rename one"):
        list(readers.texts(file, None, None))


@pytest.mark.parametrize(
    ("name", "pack"), [("a.jsonl", bytes), ("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstd)]
)
def test_a_long_file_of_json_lines_is_never_in_memory_as_a_whole(tmp_path, name, pack):
    """40 MB, of which memory holds a block of one."""
    line = json.dumps({"text": "Çafé " * 1600}, ensure_ascii=False).encode() + b"\n"
    (tmp_path / name).write_bytes(pack(line * 3550))
    tracemalloc.start()
    try:
        assert sum(len(text) for text in readers.texts(tmp_path / name, None, None)) == 28_400_000
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


NAMED_UTF16 = '{"text": "é"}\n'.encode("utf-16-le")  # without a mark


@pytest.mark.parametrize("block", [4, 5, 7, 64, 1 << 20])
@pytest.mark.parametrize(
    ("content", "encoding", "found"),
    [
        (LINES.encode("utf-16"), None, TEXTS),
        (LINES.encode("utf-16-be"), "utf-16-be", TEXTS),
        (LINES.encode("utf-32"), None, TEXTS),
        (LINES.encode("utf-8-sig"), None, TEXTS),
        (LINES.encode("utf-16"), "utf-16", TEXTS),
        (NAMED_UTF16 * 2, "utf-16", ["é", "é"]),
        (b'{"text": "caf\xe9 5 \x80"}\n{"text": "b"}\n', "cp1252", ["café 5 €", "b"]),
        ('{"text": "日本"}\n{"text": "b"}'.encode("shift_jis"), "shift_jis", ["日本", "b"]),
        ('{"text": "日本"}\n{"text": "b"}'.encode("gb18030"), "gb18030", ["日本", "b"]),
        ('{"text": "👍 日本語"}'.encode(), None, ["👍 日本語"]),
        (b'{"text": "a"}\n{"text": "b"}', None, ["a", "b"]),
        (b'{"text": "a"}\r\n\r\n{"text": "b"}\r\n', None, ["a", "b"]),
        (b'{"text": "a"}\r{"text": "b"}\r', None, ["a", "b"]),
        (b'\n \t\n{"text": "a"}\n\n\n{"text": "b"}\n\n', None, ["a", "b"]),
        ('{"text": "a\u2028b\x85c"}\n\u2028\n{"text": "d"}'.encode(), None, ["a\u2028b\x85c", "d"]),
        (b"", None, []),
        (b"\xef\xbb\xbf", None, []),
        (b"\n\r\n\r", None, []),
    ],
)  # fmt: skip
def test_rows_do_not_depend_on_where_blocks_end(
    tmp_path, monkeypatch, content, encoding, found, block
):
    monkeypatch.setattr(readers, "BLOCK", block)
    assert texts(tmp_path, "a.jsonl", content, encoding=encoding) == found
    assert texts(tmp_path, "a.jsonl.gz", gzip.compress(content), encoding=encoding) == found
    assert texts(tmp_path, "a.jsonl.zst", zstd(content), encoding=encoding) == found


@pytest.mark.parametrize("block", [4, 5, 7, 64, 1 << 20])
@pytest.mark.parametrize(
    ("content", "encoding", "said"),
    [
        (b'{"text": "a"}\r\n\r\n{"text": \r\n{"text": "b"}', None, "row 3: not JSON (Expecting value"),
        (b'{"text": "a"}\r{"text": "b"}\r[1]\r', None, "row 3: a list; a .jsonl has one object a"),
        (b'{"text": "a"}\r\n{"text": "caf\xe9"}\r\n', None, "row 2: not UTF-8 at byte 28; set encoding"),
        (b'{"text": "a"}\r\n\r{"text": "caf\xe9"}\0', None, "row 3: not text in UTF-8 at byte 29 but a"),
        (b'{"text": "a"}\n\r\xe2\x82', None, "row 3: not UTF-8 at byte 15; set encoding to its own"),
        (b'{"text": "a"}\n{"text": "two\x81"}', "cp1252", "row 2: not cp1252 at byte 27, as its `enc"),
        (b'{"text": "a"}\n{"text": "\x93"}', "shift_jis", "row 2: not shift_jis at byte 24, as its `"),
        ('{"text": "a"}\n\n'.encode("utf-16")[:-1], None, "row 2: not text in UTF-16-LE at byte 30 bu"),
        (b'{"text": "a"}\r\n\r{"text": "b\0"}', None, "row 3: a NUL character, which no text has; it "),
        (b"{}", "klingon", "unknown encoding 'klingon'; it may be cp1252"),
    ],
)  # fmt: skip
def test_errors_do_not_depend_on_where_blocks_end(
    tmp_path, monkeypatch, content, encoding, said, block
):
    monkeypatch.setattr(readers, "BLOCK", block)
    with pytest.raises(UserError) as refusal:
        texts(tmp_path, "a.jsonl", content, encoding=encoding)
    between = ": " if encoding == "klingon" else ", "
    assert str(refusal.value).startswith(f"{tmp_path}/a.jsonl{between}{said}")


def test_the_rows_before_a_broken_place_come_first(tmp_path, monkeypatch):
    """A file that was cut off gives its rows up to the last whole block, then the error."""
    monkeypatch.setattr(readers, "BLOCK", 64)
    packed = gzip.compress("".join(f'{{"text": "{n:02}"}}\n' for n in range(20)).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(packed[:-9])
    rows = readers.rows(tmp_path / "a.jsonl.gz", None)
    assert next(rows) == (f"{tmp_path}/a.jsonl.gz, row 1", {"text": "00"})
    with pytest.raises(UserError, match=r"a\.jsonl\.gz: not whole gzip \(Truncated"):
        list(rows)


def test_a_folder_or_nothing_is_no_file(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(UserError, match=r"a\.txt: not a file"):
        list(readers.texts(tmp_path / "a.txt", None, None))
    with pytest.raises(UserError, match=r"b\.txt: missing"):
        list(readers.texts(tmp_path / "b.txt", None, None))
