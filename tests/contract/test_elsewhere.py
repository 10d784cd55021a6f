"""What somebody else wrote: names that stay in their folder, and files that end."""

import os
from pathlib import Path

import pytest

from llmill.contract import elsewhere
from llmill.contract.errors import UserError

NAMES = [
    "model.safetensors",
    "model-00001-of-00002.safetensors",
    ".hidden",
    "naïve Ä 日本 🙂.txt",
    "a b",
    "...",
]
WAYS_OUT = [
    "..", ".", "", "../outside", "../../../outside.safetensors", "/etc/passwd", "a/b", "a\\b", "a\0b", "a\nb",
    "x" * 256, "é" * 128, "half \ud800", "\x1b[2J", None, 7, True, ["a"], {"a": "b"}, b"a",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_file_is_plain(name):
    assert elsewhere.is_plain(name)


@pytest.mark.parametrize("name", WAYS_OUT, ids=lambda name: ascii(name)[:20])
def test_what_leads_elsewhere_or_names_nothing_is_not(name):
    assert not elsewhere.is_plain(name)


def test_a_path_below_a_folder_has_plain_parts(tmp_path):
    listed = tmp_path / "sources.json"
    assert elsewhere.inside(tmp_path, "world/a.txt", listed) == tmp_path / "world/a.txt"
    for path in ("../a.txt", "world/../../a.txt", "/etc/passwd", "world//a.txt", "", 5, None):
        with pytest.raises(UserError, match=r"sources\.json: .* is not the name of a file in"):
            elsewhere.inside(tmp_path, path, listed)


def deep(text: str, levels: int) -> str:
    """A text in so many lists."""
    return "[" * levels + text + "]" * levels


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (None, "config.json: missing"),
        ("{", "config.json: not JSON (Expecting property name"),
        ("[1]", "config.json: expected an object, found list"),
        ("null", "config.json: expected an object, found NoneType"),
        (b"\xff{}", "config.json: not JSON ('utf-8' codec can't decode byte 0xff"),
        ('{"a": ' + deep("1", 200_000) + "}", "config.json: not JSON (more than 64 objects and"),
        ('{"a": ' + deep("1", 64) + "}", "config.json: not JSON (more than 64 objects and"),
        ('{"a": ' + "9" * 5000 + "}", "config.json: not JSON (Exceeds the limit"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_somebody_else_wrote_must_be_an_object(tmp_path, text, line):
    file = tmp_path / "config.json"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as error:
        elsewhere.read_object(file)
    assert line in str(error.value)
    file.write_text('{"a": ' + deep("1", 62) + "}")
    assert list(elsewhere.read_object(file)) == ["a"]


def pipe(file: Path) -> None:
    os.mkfifo(file)


def endless(file: Path) -> None:
    file.symlink_to("/dev/zero")


def huge(file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(1 << 40)


def nowhere(file: Path) -> None:
    file.symlink_to(file.with_name("nowhere"))


def circle(file: Path) -> None:
    file.symlink_to(file)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (Path.mkdir, "a.json: not a file"),
        (pipe, "a.json: not a file"),
        (endless, "a.json: not a file"),
        (huge, "a.json: 1,099,511,627,776 bytes; such a file has 268,435,456 at most"),
        (nowhere, "a.json: missing"),
        (circle, "a.json: Too many levels of symbolic links"),
    ],
)
def test_what_is_no_file_or_has_no_end_is_not_read(tmp_path, make, line):
    make(tmp_path / "a.json")
    for read in (elsewhere.read_object, elsewhere.read_text, elsewhere.read_bytes):
        with pytest.raises(UserError) as refused:
            read(tmp_path / "a.json")
        assert str(refused.value) == f"{tmp_path}/{line}"


def test_a_link_as_caches_have_them_is_followed(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs/5d5a").write_text('{"a": 1}')
    snapshot = tmp_path / "snapshots/main"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to("../../blobs/5d5a")
    assert elsewhere.read_object(snapshot / "config.json") == {"a": 1}


def test_a_text_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "a.jinja").write_bytes(b"ab\xff")
    with pytest.raises(UserError, match=r"a\.jinja: not UTF-8 at byte 2$"):
        elsewhere.read_text(tmp_path / "a.jinja")


def test_a_value_is_quoted_up_to_a_length():
    assert elsewhere.quoted("mamba") == "'mamba'"
    assert len(elsewhere.quoted("x" * 1000)) == 104
