"""`llmill judge-pairs`: two files of answers, their outcomes, and how the judge took the order."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmill.__main__ import app
from llmill.contract.errors import UserError
from llmill.judge_pairs import matched, print_pairs
from llmill.rank import read as outcomes
from llmill.tasks.answers import Answer, Answers, read
from tests.conftest import preset_values
from tests.evaluation.judge_server import serving

# By the number of the task, what the judge says with the first file's answer in front, and behind.
SAYS = {"1": "AB", "2": "BA", "3": "AA", "4": "A?"}


def rows(*answers):
    return [
        {"instruction": "Name.", "input": str(n), "output": "Rome", "kind": None, "answer": answer}
        for n, answer in enumerate(answers)
    ]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with serving() as server:

        def reply(request):
            text = request["messages"][0]["content"]
            number = text.split("Input:\n")[1][0]
            return SAYS[number][text.index("old") > text.index("new")]

        server.reply = reply
        values = preset_values("smoke")
        values["judge"]["openai"] |= {
            "base_url": server.url, "concurrency": 1,
            "price": {"input": 1.0, "output": 1.0},
        }  # fmt: skip
        (tmp_path / "params.yaml").write_text(json.dumps(values))
        (tmp_path / "old.json").write_text(json.dumps(rows("same", *["old"] * 4)))
        (tmp_path / "new.json").write_text(json.dumps(rows("Same.", *["new"] * 4, "more")[::-1]))
        yield server


FILES = [Path("old.json"), Path("new.json")]


def test_both_orders_are_asked_and_rank_reads_what_was_found(folder):
    done = CliRunner().invoke(app, ["judge-pairs", *map(str, FILES), "--out", "found.jsonl"])
    assert done.output.splitlines() == [
        "left out, as the other was not asked the same: 1 of the answers",
        "5 pairs: old better in 1, new in 1, 2 ties, 1 of them equal answers that nobody was asked "
        "about; 1 without two replies that could be read",
        "the orders disagree, which is a tie, in 33.3% (6.1% to 79.2%, of 3) of the pairs asked about",
        "the answer in the first place is chosen in 66.7% (11.2% to 96.9%, of 6) of the choices",
        "0 tokens read and 0 written, which cost 0; 8 replies came without a count",
        "`llmill rank found.jsonl` rates them",
    ]
    found = outcomes(Path("found.jsonl"), ["model_a", "model_b", "winner"])
    assert [(each.first, each.second, each.score) for each in found] == [
        ("old", "new", 0.5), ("old", "new", 1.0), ("old", "new", 0.0), ("old", "new", 0.5),
    ]  # fmt: skip
    lines = [json.loads(line) for line in Path("found.jsonl").read_text().splitlines()]
    assert lines[3]["orders"] == ["model_a", "model_b"]
    assert len(folder.asked) == 8


def test_what_stops_writes_no_outcomes_and_goes_on(folder):
    folder.plan = [(401, "no")]
    with pytest.raises(UserError, match=r"answers 401 .* 1 of 5 pairs are scored and kept"):
        print_pairs(FILES, Path("found.jsonl"), ["x", "y"], "pair-1")
    assert not Path("found.jsonl").exists()
    print_pairs(FILES, Path("found.jsonl"), ["x", "y"], "pair-1")
    assert max(folder.times.values()) <= 2
    assert sum(folder.times.values()) == 9


def test_a_task_that_stands_twice_is_matched_in_turn():
    def file(*rows):
        return Answers([Answer((task, ""), text) for task, text in rows])

    one = file(("x", "1"), ("y", "2"), ("x", "3"), ("x", "4"))
    found = matched(one, file(("x", "5"), ("z", "6"), ("x", "7")))
    assert [[row["answer"] for row in side] for side in found] == [["1", "3"], ["5", "7"]]


def test_files_of_other_programs_are_matched_by_the_same_task(tmp_path):
    """Spaces around it do not count, `output` without `answer` is the answer, `input` may be
    null, and the reference may stand in either file.
    """
    theirs = [{"instruction": " Name. ", "output": "Bern", "input": None}]
    ours = [{"instruction": "Name.", "input": "", "output": "Rome", "answer": "Paris"}]
    for name, rows in (("theirs.json", theirs), ("ours.json", ours)):
        (tmp_path / name).write_text(json.dumps(rows))
    found = matched(read(tmp_path / "theirs.json"), read(tmp_path / "ours.json"))
    task = {"instruction": "Name.", "input": "", "output": "Rome"}
    assert found == ([{**task, "answer": "Bern"}], [{**task, "answer": "Paris"}])


@pytest.mark.parametrize(
    ("first", "names", "line"),
    [
        (rows("x"), ["a", "a"], "both are called 'a'; --names gives them names"),
        (rows("x"), ["model_b", "a"], "--names: 'model_b' says who won in a file of outcomes; rename it"),
        ([{"instruction": "x", "answer": "y"}], ["a", "b"], "old.json and new.json: no instruction and input that are in both"),
        ([{"instruction": "x"}], ["a", "b"], "old.json, entry 1 of 1: neither 'answer' nor 'output'; a row of answers has"),
        ([{"instruction": "x", "answer": 3}], ["a", "b"], "old.json, entry 1 of 1: 'answer' is int, expected text"),
        (["x"], ["a", "b"], "old.json, entry 1 of 1: 'x' is no object with instruction and answer"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_line(folder, first, names, line):
    FILES[0].write_text(json.dumps(first))
    with pytest.raises(UserError, match=re.escape(line)):
        print_pairs(FILES, Path("found.jsonl"), names, "pair-1")


def test_a_prompt_that_is_none_of_pairs_is_one_line(folder):
    with pytest.raises(UserError, match=r"score-1\.txt: has the fields"):
        print_pairs(FILES, Path("found.jsonl"), ["a", "b"], "score-1")


def test_that_no_answer_has_a_reference_is_said(folder, capsys):
    for file in FILES:
        rows = json.loads(file.read_text())
        file.write_text(json.dumps([{**row, "output": None} for row in rows]))
    print_pairs(FILES, Path("found.jsonl"), ["a", "b"])
    said = "no answer has a reference, so the judge is asked pair-without-reference-1"
    assert capsys.readouterr().out.splitlines()[1] == said
    texts = [request["messages"][0]["content"] for request in folder.asked]
    assert [text for text in texts if "reference" in text] == []


def test_a_judge_that_never_chooses_is_refused(folder):
    folder.reply = "Both are good."
    with pytest.raises(
        UserError, match="model 'judge' never replied A, B or tie in both orders of one of 4 pairs"
    ):
        print_pairs(FILES, Path("found.jsonl"), ["a", "b"], "pair-1")
    assert not Path("found.jsonl").exists()


@pytest.mark.parametrize(("out", "reason"), [(".", "a folder"), ("none/o.jsonl", "no folder none")])
def test_where_nothing_can_be_written_nothing_is_asked(folder, out, reason):
    with pytest.raises(UserError, match=reason):
        print_pairs(FILES, Path(out), ["a", "b"], "pair-1")
    assert folder.asked == []


def test_answers_that_are_not_there_are_one_line(folder):
    with pytest.raises(UserError, match=r"^none\.json: no such file of answers$"):
        print_pairs([FILES[0], Path("none.json")], Path("found.jsonl"), ["a", "b"], "pair-1")
