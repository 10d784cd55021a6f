"""What judges are asked: versions in files, known by their content."""

import pytest
from pydantic import ValidationError

from llmill.contract.errors import UserError
from llmill.evaluation.judging import prompts
from llmill.evaluation.judging.judge_client import PAIRED, REFERENCE, SCORED
from tests.evaluation.judge_server import settings

# A version that has been used stays as it is: another wording is another file.
VERSIONS = {
    "pair-1": "d3d7ffa6f0a661118e4a5be04f7527adc0c46928cdf298ad40b01a684395c5a9",
    "pair-without-reference-1": "8c1998a5b8c22eb6a12591757b78b25c37ae605334644843203bac0424ad725f",
    "score-1": "4d9ca17ab9847be3c345566be1082da17923211525c1d517bf88d575c764989b",
    "score-2": "8b24a63e11bab861503b0515f520fb6223710ca25a6232da0c76cfdc9f2a975f",
}


def fields(name):
    return (PAIRED, {REFERENCE}) if name.startswith("pair") else (SCORED,)


def test_a_version_that_was_used_stays_as_it_is():
    found = {name: prompts.read(name, *fields(name)).sha256 for name in prompts.names()}
    assert found == VERSIONS


def test_fields_are_filled_and_braces_are_text():
    prompt = prompts.read("score-2", SCORED)
    text = prompt.about({"instruction": "Add.", "input": "", "output": "{2}", "answer": "{answer}"})
    assert "Instruction:\nAdd.\n\nInput:\n(none)\n\nReference answer:\n{2}\n" in text
    assert text.endswith("Answer to grade:\n{answer}\n\n" + text.rpartition("{answer}\n\n")[2])
    assert text.endswith('{"reason": "...", "score": 0}')


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{answer}", r"own.txt: has the fields {answer}, where {answer}, {input}, {instruction}, {output} are asked for"),
        ("{answer} {instruction} {input}", r"own.txt: has the fields {answer}, {input}, {instruction}, where"),
        ("Nothing.\n", r"own.txt: has the fields none, where"),
        ('{"score": 1}', r"own.txt: has the fields"),
        ("{answer", r"own.txt: .* braces that are text are doubled"),
    ],
)  # fmt: skip
def test_a_file_with_other_fields_is_one_line(tmp_path, monkeypatch, text, line):
    monkeypatch.setattr(prompts, "FOLDER", tmp_path)
    (tmp_path / "own.txt").write_text(text)
    with pytest.raises(UserError, match=line):
        prompts.read("own", SCORED)


def test_a_version_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(
        ValidationError, match="no prompt of this name; there are pair-1, pair-without"
    ):
        settings("http://h/v1", prompt="../score-1")


def test_a_budget_of_money_needs_prices():
    with pytest.raises(ValidationError, match=r"budget\.cost needs price\.input and price\.output"):
        settings("http://h/v1", budget={"tokens": None, "cost": 1.0})
