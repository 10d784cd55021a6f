import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmill.contract.errors import UserError
from llmill.text.corpus import documents
from tests.conftest import ROOT

BOOK = (
    "\ufeffThe Project Gutenberg EBook of A Book\r\n\r\nLicence words.\r\n\r\n"
    "*** START OF THIS PROJECT GUTENBERG EBOOK A BOOK ***\r\n\r\nProduced by Somebody\r\n\r\n"
    "It was a long line of prose which the\r\nprinter broke because it was full, as\r\n"
    "lines of prose are.\r\n\r\n"
    "Roses are red,\r\n   \r\n"
    "  A verse of few\r\n  words stays\r\n  as it is.\r\n\r\n"
    "End of the Project Gutenberg EBook of A Book, by Nobody\r\n\r\n"
    "*** END OF THIS PROJECT GUTENBERG EBOOK A BOOK ***\r\n\r\n"
    "*** START: FULL LICENSE ***\r\nMore licence.\r\n"
)


def read(folder: Path, content: bytes, form: str, words: int = 1000) -> list[str]:
    file = folder / "a.txt"
    file.write_bytes(content)
    return [d.text for d in documents.read([file], "mine", form, words)]


def test_a_book_loses_header_credits_licence_and_its_line_breaks_but_verse_keeps_them(tmp_path):
    assert read(tmp_path, BOOK.encode(), "gutenberg") == [
        "It was a long line of prose which the printer broke because it was full, as "
        "lines of prose are.\n\nRoses are red,\n\n  A verse of few\n  words stays\n  as it is."
    ]


def test_the_marks_may_lack_spaces_and_say_the_instead_of_this(tmp_path):
    text = "***START OF THE PROJECT GUTENBERG EBOOK X***\nBody.\n***END OF THE PROJECT GUTENBERG EBOOK X***"
    assert read(tmp_path, text.encode(), "gutenberg") == ["Body."]


def test_paragraphs_are_documents_of_their_own(tmp_path):
    content = b"\xef\xbb\xbfOne  \r\nstill one\r\n\r\n \t\r\nTwo\rand two\r\n\r\n\r\nThree"
    assert read(tmp_path, content, "paragraphs") == ["One\nstill one", "Two\nand two", "Three"]


def test_a_line_of_a_million_spaces_ends_soon(tmp_path):
    (tmp_path / "a.txt").write_text("a" + " " * 1_000_000 + "b" + " " * 1_000_000 + "\nc")
    code = """
from pathlib import Path
from llmill.text.corpus import documents
(one,) = documents.read([Path("a.txt")], "mine", "paragraphs", 1)
print(len(one.text), one.text[-3:].encode())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=120,  # an hour before
        check=True,
    )
    assert done.stdout == "1000004 b'b\\nc'\n"


def test_blank_lines_may_hold_white_space_of_any_kind(tmp_path):
    text = "One\n\u00a0\nTwo\n \u3000\t\nThree\n\x0c\nFour\u00a0\nstill four"
    assert read(tmp_path, text.encode(), "paragraphs") == [
        "One",
        "Two",
        "Three",
        "Four\u00a0\nstill four",
    ]


def test_a_text_in_utf16_or_in_a_named_encoding_is_read_whole(tmp_path):
    text = "Café one.\n\nTwo."
    assert read(tmp_path, text.encode("utf-16-le"), "paragraphs") == ["Café one.", "Two."]
    assert read(tmp_path, text.encode("utf-16"), "paragraphs") == ["Café one.", "Two."]
    (tmp_path / "b.md").write_bytes(text.encode("cp1252"))
    found = documents.read([tmp_path / "b.md"], "mine", "paragraphs", 9, encoding="cp1252")
    assert [document.text for document in found] == ["Café one.", "Two."]


def test_ready_documents_are_one_a_file_or_one_a_row(tmp_path):
    assert read(tmp_path, b"\r\n  One \r\n\r\nstill one\r\n", "documents") == ["  One\n\nstill one"]
    rows = [
        {"text": "One\r\n\r\nstill one"},
        {"text": " \n"},
        {"text": None},
        {"text": "\ud800 two"},
    ]
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(documents.read([file], "mine", "documents", 1))
    assert [document.text for document in found] == ["One\n\nstill one", "\ufffd two"]
    file.write_text('{"body": "a b"}\n{"body": "c d"}\n')
    found = list(documents.read([file], "mine", "prose", 100, column="body"))
    assert [document.text for document in found] == ["a b", "c d"]  # never across rows


def test_other_characters_stay_as_they_are(tmp_path):
    text = "e\u0301 \u2028 \u00a0 \x0c\x85 ﬁ <|endoftext|>"
    assert read(tmp_path, text.encode(), "paragraphs") == [text]


def test_prose_is_cut_at_paragraph_ends_near_the_asked_length(tmp_path):
    text = "a b c\n\nd e f\n\ng h i j k l m n\n\no"
    assert read(tmp_path, text.encode(), "prose", 6) == [
        "a b c\n\nd e f",
        "g h i j k l m n",
        "o",
    ]


def test_a_document_is_known_by_the_hash_of_its_text(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("Hello")
    (document,) = documents.read([file], "mine", "paragraphs", 1)
    assert document.source == "mine"
    assert document.id == "185f8db32271fe25f561a6fc938b2e264306ec304eda518007d1764826381969"


@pytest.mark.parametrize(
    ("content", "form", "said"),
    [
        (b"", "prose", "no text"),
        (b"\xef\xbb\xbf \r\n \r\n", "paragraphs", "no text"),
        (b"caf\xe9", "prose", "not UTF-8 at byte 3"),
        (b"just text", "gutenberg", "START OF"),
        (b"*** START OF THE PROJECT GUTENBERG EBOOK X ***\ncut off", "gutenberg", "END OF"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, form, said):
    with pytest.raises(UserError, match=rf"a\.txt.*{said}"):
        read(tmp_path, content, form)


def test_the_real_novels_keep_nothing_of_project_gutenberg(real_data):
    files = sorted((real_data / "pretrain/gutenberg").glob("*.txt"))
    assert len(files) == 20
    texts = [d.text for d in documents.read(files, "gutenberg", "gutenberg", 400)]
    assert not [t[:80] for t in texts if "gutenberg" in t.lower() or "\r" in t or "\ufeff" in t]
    assert not [t[:80] for t in texts if "*** " in t or "Produced by" in t or "E-text" in t]
    assert sum(len(t.split()) for t in texts) == pytest.approx(3_830_000, rel=0.01)
    assert any(
        "My father's family name being Pirrip, and my Christian name Philip, my infant tongue could"
        in t
        for t in texts
    )
    assert any("If sailor tales to sailor tunes,\n                  Storm and" in t for t in texts)


def test_the_novels_come_with_and_without_a_byte_order_mark(real_data):
    files = sorted((real_data / "pretrain/gutenberg").glob("*.txt"))
    assert sum(f.read_bytes().startswith(b"\xef\xbb\xbf") for f in files) == 11
    found = documents.read(files, "gutenberg", "documents", 400)
    assert not any(document.text.startswith("\ufeff") for document in found)


def test_the_real_prose_files_are_read_whole(real_data):
    for name in ("the-verdict.txt", "tinyshakespeare.txt", "wikitext-2/valid.txt"):
        file = real_data / "pretrain" / name
        found = documents.read([file], "prose", "prose", 400)
        words = [word for document in found for word in document.text.split()]
        assert words == file.read_text(encoding="utf-8").split()
