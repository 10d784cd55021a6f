from pathlib import Path

import pytest

from llmill.contract.errors import UserError
from llmill.text.files.encoding import decode, decoded

FILE = Path("own/a.csv")
TEXT = "label,text\nspam,Café für 5 €\nham,日本語 👍\n"


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"],
)
def test_every_form_of_unicode_is_recognized_by_its_mark_or_its_nuls(encoding):
    assert decode(TEXT.encode(encoding), FILE, None) == TEXT


def test_utf16_without_a_mark_in_another_script_is_refused_and_read_where_it_is_named():
    text = "Прямая речь и слово\nещё одна строка\n"
    with pytest.raises(UserError, match=r"row 1: a NUL character.*, e\.g\. utf-16-le$"):
        decode(text.encode("utf-16-le"), FILE, None)
    assert decode(text.encode("utf-16-le"), FILE, "utf-16-le") == text


def test_line_ends_of_any_kind_become_one():
    assert decode(b"a\r\nb\rc\n\r\n\r", FILE, None) == "a\nb\nc\n\n\n"
    assert decode("a\r\nb\rc".encode("utf-16"), FILE, None) == "a\nb\nc"


def test_other_characters_that_end_lines_for_python_stay():
    text = "a\x0b\x0c\x1c\x85\u2028b"
    assert decode(text.encode(), FILE, None) == text


def test_a_named_encoding_is_used_and_may_have_any_of_its_names():
    assert decode(b"caf\xe9 5 \x80", FILE, "cp1252") == "café 5 €"
    assert decode(b"caf\xe9", FILE, "Latin 1") == "café"
    assert decode("日本".encode("shift_jis"), FILE, "shift-jis") == "日本"
    assert decode(b"\xef\xbb\xbfa", FILE, "utf-8") == "a"
    assert decode(b"\xff\xfea\0", FILE, "utf-16-le") == "a"


def test_a_text_comes_in_pieces_as_its_bytes_do_and_is_the_same():
    data = "a\r\nb\r日本\r".encode("utf-16")
    blocks = [data[:4], data[4:5], data[5:11], data[11:]]
    pieces = decoded(blocks, FILE, None)
    assert next(pieces) == "a"
    assert "".join(["a", *pieces]) == "a\nb\n日本\n"


def test_a_file_is_binary_if_a_nul_is_anywhere_in_it():
    blocks = [b"one\n", b"tw\xff\n", b"three\n", b"\0"]
    with pytest.raises(UserError, match=r"row 2: not text in UTF-8 at byte 6 but a binary file$"):
        list(decoded(blocks, FILE, None))
    with pytest.raises(UserError, match=r"row 2: not UTF-8 at byte 6; set encoding to its own"):
        list(decoded(blocks[:3], FILE, None))


@pytest.mark.parametrize(
    ("encoding", "blocks", "offset"),
    [
        # The second line, and then half of a surrogate pair, in the byte order of the mark.
        ("utf-16", [b"\xfe\xff\0a\0\n", b"\0b\0\n\xdc\0\0c"], 10),
        ("utf-16", [b"\xff\xfea\0\n\0", b"b\0\n\0\0\xdcc\0"], 10),
        ("utf-32", [b"\0\0\xfe\xff\0\0\0\n", b"\0\0\0\n\0\x11\0\0"], 12),
    ],
)
def test_the_row_of_a_wrong_character_is_counted_in_the_byte_order_of_the_mark(
    encoding, blocks, offset
):
    said = rf"row 3: not {encoding} at byte {offset}, as its `encoding` says"
    with pytest.raises(UserError, match=said):
        list(decoded(blocks, FILE, encoding))


def test_an_empty_file_is_an_empty_text():
    assert decode(b"", FILE, None) == decode(b"\xef\xbb\xbf", FILE, None) == ""


@pytest.mark.parametrize(
    ("data", "encoding", "said"),
    [
        (
            b"a,b\r\nc,caf\xe9\r\n",
            None,
            "own/a.csv, row 2: not UTF-8 at byte 10; set encoding to its own, e.g. cp1252",
        ),
        (b"\xef\xbb\xbfa\rcaf\xe9", None, "own/a.csv, row 2: not UTF-8 at byte 8; set encoding"),
        (
            b"\xef\xbb\xbfone\ntw\xff\n",
            "utf-8-sig",
            "own/a.csv, row 2: not utf-8-sig at byte 9, as its `encoding` says; name another",
        ),
        (b"\xff\xfea\0\n\0b", None, "own/a.csv, row 2: not text in UTF-16-LE at byte 6 but a bin"),
        (
            b"one\ntwo\x81\n",
            "cp1252",
            "own/a.csv, row 2: not cp1252 at byte 7, as its `encoding` says; name another",
        ),
        (
            b"a\n",
            "windows1252",
            "own/a.csv: unknown encoding 'windows1252'; did you mean 'windows_1252'?",
        ),
        (b"a\n", "klingon", "own/a.csv: unknown encoding 'klingon'; it may be cp1252, latin-1, "),
        (b"a\n", "rot13", "own/a.csv: unknown encoding 'rot13'; "),
        (b"a\n", "a\0b", "own/a.csv: unknown encoding 'a\\x00b'; "),
        (b"a\n", "", "own/a.csv: unknown encoding ''; "),
        (b"a\n", "undefined", "own/a.csv, row 1: not undefined at byte 0"),
        (b"ham\tone\nham\ttw\0o\n", None, "own/a.csv, row 2: a NUL character, which no text has; "),
        (b"ham\tone\nham\ttw\0o\n", "cp1252", "own/a.csv, row 2: a NUL character"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", None, "own/a.csv, row 1: not text in UTF-8 at byte 0 b"),
        (bytes(1000), None, "own/a.csv, row 1: a NUL character, which no text has; it is a binary"),
    ],
)
def test_what_is_no_text_is_refused_with_its_row(data, encoding, said):
    with pytest.raises(UserError) as refusal:
        decode(data, FILE, encoding)
    assert str(refusal.value).startswith(said)
    assert "\n" not in str(refusal.value)
