"""`llmill tokens`: pieces and ids as the tokenizer of the chain, or of a model, has them."""

import shutil
import sys

import pytest

from llmill import __main__
from llmill.text.tokenization.tokenizer import Tokenizer
from tests.conftest import ROOT, preset_text

BYTES = {bytes([n]): n for n in range(256)}
PIECES = ["ol", " G", "ld", " is"]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with the tokenizer that stage `tokenizer` made, of the bytes and four pieces."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(preset_text("smoke"))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    ranks = BYTES | {piece.encode(): 256 + n for n, piece in enumerate(PIECES)}
    Tokenizer(ranks).save(tmp_path / "data/tokenizer/bpe")
    return tmp_path


def said(monkeypatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["llmill", "tokens", *words])
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    if ended.value.code:
        print(ended.value.code)


def test_a_line_for_each_token_has_its_id_and_its_piece_with_its_spaces(
    repository, monkeypatch, capsys
):
    said(monkeypatch, "A Gold\n")
    assert capsys.readouterr().out == " 65  'A'\n257  ' G'\n256  'ol'\n100  'd'\n 10  '\\n'\n"


def test_the_bytes_of_an_unknown_character_and_a_control_character_are_shown_as_numbers(
    repository, monkeypatch, capsys
):
    said(monkeypatch, "ő\x1b")
    assert capsys.readouterr().out == "197  '\\xc5'\n145  '\\x91'\n 27  '\\x1b'\n"


def test_a_models_own_tokenizer_is_had_by_its_folder(repository, monkeypatch, capsys):
    (repository / "other").mkdir()
    (repository / "other/config.json").write_text('{"model": {}}')
    Tokenizer(BYTES).save(repository / "other/bpe")
    said(monkeypatch, "ol", "--model", "other")
    assert capsys.readouterr().out == "111  'o'\n108  'l'\n"


def test_what_has_no_tokens_or_no_tokenizer_is_one_line(repository, monkeypatch, capsys):
    said(monkeypatch, "")
    shutil.rmtree(repository / "data")
    said(monkeypatch, "Gold")
    said(monkeypatch, "Gold", "--model", "pretrain")
    assert capsys.readouterr().out.splitlines() == [
        "llmill: an empty text has no tokens",
        "llmill: data/tokenizer/bpe: no tokenizer yet; `dvc repro tokenizer` makes it",
        "llmill: results/pretrain/checkpoint: no checkpoint; name a stage that was made "
        "(`dvc repro` makes all), a variant as classify/all, or a model's folder",
    ]


def test_bytes_that_are_not_utf8_are_read_as_replacements_and_said(repository, monkeypatch, capsys):
    said(monkeypatch, "A\udce9")
    shown = capsys.readouterr()
    assert shown.out == " 65  'A'\n239  '\\xef'\n191  '\\xbf'\n189  '\\xbd'\n"
    assert shown.err.startswith("llmill: the text: 1 byte is not UTF-8, and read as \ufffd; ")
