"""`llmill bits-per-byte`: a model of which every figure is known, and what it refuses."""

import io

import pytest
from rich.console import Console

from llmill.bits_per_byte import print_bits
from llmill.contract.errors import UserError
from llmill.model import checkpoint
from llmill.model.checkpoint import Checkpoint
from tests.evaluation.toys import bigram, bytes_tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """What goes on abcabc: a bit each byte of that, nine of another, eight of what stands behind
    another.
    """
    folder = tmp_path_factory.mktemp("model") / "checkpoint"
    likes = {"": "a", "a": "b", "b": "c", "c": "a"}
    checkpoint.save(folder, Checkpoint(bigram(likes), bytes_tokenizer()))
    return str(folder)


def printed(model, files, **settings):
    text = io.StringIO()
    print_bits(model, files, console=Console(file=text, width=160), **settings)
    rows = [line.strip("│").split("│") for line in text.getvalue().splitlines() if "│" in line]
    return {head.strip(): [cell.strip() for cell in cells] for head, *cells in rows}


def test_each_file_has_a_column_and_all_together_one(model, tmp_path):
    (tmp_path / "a.txt").write_text("abc" * 40)
    (tmp_path / "b.jsonl").write_text('{"text": "abca"}\n{"text": "abcc"}\n')
    found = printed(model, [tmp_path / "a.txt", tmp_path / "b.jsonl"])
    assert found["texts"] == ["1", "2", "3"]
    assert found["bytes"] == found["tokens"] == ["120", "8", "128"]
    assert found["words"] == ["1", "2", "3"]
    assert found["nats per token"] == ["0.693", "1.386", "0.736"]
    assert found["bits per byte"][:2] == ["1.000", "2.000"]
    assert found["bits per byte"][2] in ("1.062", "1.063")  # 1.0625, give or take a rounding
    assert found["95% interval, over texts"][:2] == ["–", "1.000 to 3.000"]
    assert found["perplexity per word"] == ["1.3292e+36", "256", "4.433e+13"]


def test_wikitext_is_read_by_pages_as_it_was_written_and_counted_as_it_is(model, tmp_path):
    file = tmp_path / "wiki.test.raw"
    file.write_text(" = A = \n abc @-@ abc \n = B = \n a ( b ) \n")
    found = printed(model, [file], of_wikitext=True)
    assert found["texts"] == ["2"]
    assert found["bytes"] == ["40"]
    assert found["tokens"] == [str(len(" = A =\nabc-abc\n") + len(" = B =\na (b)\n"))]
    assert found["words"] == [str(8 + 9)]
    plain = printed(model, [file])
    assert (plain["texts"], plain["tokens"], plain["words"]) == (["1"], ["40"], ["13"])


def test_a_shorter_window_is_taken_and_a_longer_one_refused(model, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("abc" * 40)
    assert printed(model, [file], window=8)["bits per byte"] == ["1.000"]
    with pytest.raises(UserError, match=r"--window 65: .* reads at most 64 tokens"):
        printed(model, [file], window=65)


def test_a_file_without_text_is_refused(model, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text(" \n")
    with pytest.raises(UserError, match=r"b\.txt: no text in it"):
        printed(model, [tmp_path / "a.txt", tmp_path / "b.txt"])
