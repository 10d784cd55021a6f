"""`llmill part`: what no share is. What a share does: tests/stages, tests/test_workflow.py."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llmill.contract import closure, record
from llmill.contract.errors import UserError
from llmill.runner import audit
from llmill.runner.part import make_parts
from llmill.stages import tokenize
from llmill.text.corpus import parquet
from llmill.text.corpus.documents import Document
from tests.conftest import ROOT
from tests.evaluation.toys import bytes_tokenizer


@pytest.mark.parametrize(
    ("stage", "share", "said"),
    [
        ("pretrain", "1-of-2", "pretrain: the work of this stage does not fall into parts; choose prepare, "
         "tokenize"),
        ("prepare", "3-of-2", "'3-of-2' is no share of the parts; write one as 3-of-8"),
        ("prepare", "0-of-2", "'0-of-2' is no share of the parts; write one as 3-of-8"),
        ("prepare", "half", "'half' is no share of the parts; write one as 3-of-8"),
    ],
)  # fmt: skip
def test_what_is_no_share_or_has_no_parts_is_refused(stage, share, said, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError) as error:
        make_parts(stage, share)
    assert str(error.value) == said


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    for name in ("params.yaml", "dvc.yaml", "requirements.lock", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def prepared(here) -> Path:
    """What stage tokenize reads: three shards, a tokenizer, and its code."""
    for split, count in (("train", 2), ("validate", 1)):
        documents = [Document(f"{split} {i}", "mill", str(i)) for i in range(count)]
        parquet.write(here / "data/prepare/text" / split, documents, 1)
    bytes_tokenizer().save(here / "data/tokenizer/bpe")
    for stage in ("prepare", "tokenizer"):
        record.write_json(here / "data" / stage / "record.json", {})
    (here / "data/code").mkdir()
    code = closure.code_of(closure.SourceTree(), "tokenize", closure.read_lock())
    record.write_json(here / "data/code/tokenize.json", code)
    return here


def made(here: Path) -> list[Path]:
    return sorted((here / "scratch/tokenize/parts").iterdir())


def test_a_share_is_every_nth_part_and_only_parts_remain(prepared):
    words = [sys.executable, "-m", "llmill", "part", "tokenize", "2-of-2"]
    environment = os.environ | {audit.VARIABLE: "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "tokenize: share 2-of-2: 1 of 3 parts\n"
    assert [(folder / "entry.json").exists() for folder in made(prepared)] == [True]
    make_parts("tokenize", "1-of-2")
    assert [(folder / "entry.json").exists() for folder in made(prepared)] == [True] * 3


@pytest.mark.parametrize(
    ("file", "of"), [("code/tokenize.json", "code"), ("prepare/record.json", "prepare")]
)
def test_no_part_remains_that_may_be_of_an_input_before_or_after_an_edit(
    prepared, monkeypatch, file, of
):
    """Somebody edits a source or data, and DVC takes it in, while a share is at work."""
    encode = tokenize.encode

    def edited(*words) -> None:
        encode(*words)
        record.write_json(prepared / "data" / file, {"edited": "meanwhile"})

    monkeypatch.setattr(tokenize, "encode", edited)
    with pytest.raises(UserError) as error:
        make_parts("tokenize", "1-of-1")
    assert str(error.value) == (
        f"tokenize: the result of stage {of} was made anew or removed while share 1-of-1 was made, "
        "so the part at work is not kept; once it is there, the same command makes the rest from it"
    )
    assert made(prepared) == []


def test_a_part_that_fails_because_its_input_is_being_made_anew_names_that_stage(
    prepared, monkeypatch
):
    """DVC removes what a stage made before it runs the stage."""

    def removed(*words) -> None:
        shutil.rmtree(prepared / "data/prepare")
        raise FileNotFoundError("data/prepare/text/train/00000.parquet")

    monkeypatch.setattr(tokenize, "encode", removed)
    with pytest.raises(UserError, match="the result of stage prepare was made anew or removed"):
        make_parts("tokenize", "1-of-1")
    assert made(prepared) == []


def test_parts_are_named_by_the_code_that_made_them(prepared, monkeypatch):
    """Their name must not be of a code that stage `code` writes while the parts are listed."""
    listed = tokenize.parts

    def edited(*words):
        record.write_json(prepared / "data/code/tokenize.json", {"edited": "meanwhile"})
        return listed(*words)

    monkeypatch.setattr(tokenize, "parts", edited)
    with pytest.raises(UserError, match="tokenize: the result of stage code was made anew"):
        make_parts("tokenize", "1-of-1")
    assert made(prepared) == []


def test_without_the_code_of_its_stage_no_part_is_made_and_one_line_says_so(here):
    with pytest.raises(UserError, match=r"data/code/prepare\.json: missing; .* `dvc repro`"):
        make_parts("prepare", "1-of-2")
