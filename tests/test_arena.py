"""`llmill arena`: the chain's models and others' answers, by what judges them."""

import io
import json
import shutil

import pytest
import torch
from rich.console import Console

from llmill.arena import print_arena
from llmill.contract import skipped
from llmill.contract.errors import UserError
from llmill.evaluation.judging.judge import grade
from llmill.evaluation.judging.judges import folder_of
from llmill.model import checkpoint
from llmill.model.checkpoint import Checkpoint
from llmill.rank import read
from tests.conftest import ROOT, preset_text
from tests.evaluation.toys import bytes_tokenizer, headed

COLUMNS = ["model_a", "model_b", "winner"]


def rows(answer: str, size: int = 8) -> list[dict[str, str]]:
    """Sums and their answers, by a form of `n`, the number that is right for even n alone."""
    return [
        {"instruction": f"Add {n}.", "input": "", "output": f"It is {n}.", "kind": "sum"}
        | {"answer": answer.format(n=n if n % 2 == 0 else n + 10)}
        for n in range(size)
    ]


def judged(row: dict[str, str], score: float) -> dict:
    fields = {name: row[name] for name in ("instruction", "input", "answer")}
    return fields | {"reference": row["output"], "judge": score, "rule": None, "score": score}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(preset_text("smoke"), encoding="utf-8")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    return tmp_path


def chain(root, name: str, answers, scores=None, backend="grader", short_of=()) -> None:
    """What stages `instruct` or `prefer`, and `judge` leave of a model."""
    folder = root / "results" / ("instruct" if name == "pretrain" else name) / "answers"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(answers))
    if scores is not None:
        folder = root / "results" / "judge" / name
        folder.mkdir(parents=True)
        table = [judged(row, score) for row, score in zip(answers, scores, strict=True)]
        (folder / "scores.json").write_text(json.dumps(table))
        metrics = {"backend": backend, "short_of": list(short_of)}
        (folder / "metrics.json").write_text(json.dumps(metrics))


def said(*paths, by=None, margin=10.0, out=None) -> list[str]:
    text = io.StringIO()
    print_arena(list(paths), by, margin, out, Console(file=text, width=100))
    lines = [line.replace("│", " ") for line in text.getvalue().splitlines()]
    return [" ".join(line.split()) for line in lines]


def test_the_chain_s_models_meet_by_the_scores_of_stage_judge(repository):
    chain(repository, "pretrain", rows("{n}"), [0, 0, 0, 0, 0, 0, 90, 50])
    chain(repository, "instruct", rows("It is {n}."), [80, 80, 80, 5, 80, 80, 0, 50])
    out = repository / "outcomes.jsonl"
    lines = said(out=out)
    assert "Answers that no rule decides are rated by the embedded judge." in lines
    assert "instruct 8 8 0 56.9" in lines  # answers, scored, empty, mean
    assert "8 outcomes on 8 instructions, 2 of them ties: less than 10 points apart" in lines
    assert "pretrain instruct 1 2 5" in lines
    assert any("drawn anew" in line for line in lines)
    assert [each.score for each in read(out, COLUMNS)] == [0, 0, 0, 0.5, 0, 0, 1, 0.5]
    about = [each.about for each in read(out, COLUMNS, ["instruction", "input"])]
    assert about == [f"Add {n}.\n" for n in range(8)]


def test_answers_from_elsewhere_are_scored_by_rules_and_the_embedded_judge(repository):
    """What no rule decides is asked of the grader's own judges, here two; rules have the rest."""
    graders = []
    folder = repository / "results" / "grader" / "checkpoint"
    for seed, place in enumerate((folder, folder_of(folder, 1))):
        model = headed(1, seed, block_size=256)
        with torch.no_grad():
            model.head.weight.mul_(0.05)
            model.head.bias.fill_(0.5)
        graders.append(Checkpoint(model, bytes_tokenizer(), None, 256))
        checkpoint.save(place, graders[-1])
    chain(repository, "instruct", rows("It is {n}."), 8 * [70.0])
    folder = repository / "others"
    folder.mkdir()
    (folder / "nothing.json").write_text(json.dumps(rows("")))
    guess = repository / "guess.json"
    unknown = [{"instruction": "Sing.", "output": "La."}]
    guess.write_text(json.dumps(rows("Perhaps {n}?", 4) + unknown + rows("?", 1)))
    out = repository / "outcomes.jsonl"
    lines = said(folder, guess, margin=0, out=out)
    assert "Answers that no rule decides are rated by the embedded judge." in lines
    assert "nothing 8 8 8 0.0" in lines
    assert "guess: left out 1 to an instruction without a reference here" in lines
    assert "guess: left out 1 to an instruction answered before" in lines
    assert "instruct nothing 8 0 0" in lines
    told = [json.loads(line) for line in out.read_text().splitlines()]
    given = [row["points_b"] for row in told if row["model_a"] == "nothing"]
    one, other = (grade(grader, rows("Perhaps {n}?", 4)) for grader in graders)
    assert given == pytest.approx(
        [sum(each) / 2 for each in zip(one, other, strict=True)], abs=1e-3
    )


@pytest.mark.parametrize(
    ("backend", "short_of", "because"),
    [
        ("grader", (), "there is no embedded judge, which stage grader makes"),
        ("openai", (), "the scores that there are come from another judge than the rest would"),
        ("grader", ("9 of 10",), "the judge does not reach its bar (9 of 10)"),
    ],
)
def test_all_are_rated_by_words_where_no_one_judge_rates_all(
    repository, backend, short_of, because
):
    chain(repository, "instruct", rows("It is {n}."), 8 * [70.0], backend, short_of)
    guess = repository / "guess.json"
    guess.write_text(json.dumps(rows("Perhaps {n}?")))
    lines = said(guess)
    assert f"Answers that no rule decides are rated by ROUGE-L, because {because}." in lines
    # "It is 0." of words in common with itself, and "It is 11." two of three; "Perhaps 0?" 2 / 5.
    assert "instruct 8 8 0 83.3" in lines
    assert "guess 8 8 0 20.0" in lines


@pytest.mark.parametrize(("measured", "by"), [(False, "ROUGE-L, because"), (True, "the server.")])
def test_a_judge_that_no_model_measured_rates_nothing(repository, measured, by):
    reason = "no right answer to measure the order of answers"
    for name, found in (("pretrain", {"unmeasured": [reason]}), ("instruct", {"auc": 0.9})):
        chain(repository, name, rows("It is {n}."), 8 * [70.0], "openai")
        file = repository / "results/judge" / name / "metrics.json"
        metrics = json.loads(file.read_text())
        if measured or name == "pretrain":
            metrics |= found
        file.write_text(json.dumps(metrics))
    because = f" the judge does not reach its bar ({reason})." if not measured else ""
    assert f"Answers that no rule decides are rated by {by}{because}" in said()


def test_foreign_files_alone_bring_their_references(repository):
    for name, form in (("x", "It is {n}."), ("y", "Well, {n}.")):
        (repository / f"{name}.json").write_text(json.dumps(rows(form)))
    lines = said(repository / "x.json", repository / "y.json")
    assert "x y 8 0 0" in lines
    assert any("Not rated: x, y." in line for line in lines)


def test_an_empty_reference_is_none_whichever_file_is_first(repository):
    for names in ("ab", "ba"):
        for name, form, reference in zip(
            names, ("It is {n}.", "{n}"), ("", "It is 0."), strict=True
        ):
            one = [rows(form, 1)[0] | {"output": reference}]
            (repository / f"{name}.json").write_text(json.dumps(one))
        lines = said(repository / "a.json", repository / "b.json", by="words")
        assert f"{names[0]} 1 1 0 100.0" in lines  # "It is 0.", which the other file calls right


def test_of_a_task_that_stands_twice_the_first_reference_counts_for_all(repository):
    entries = repository / "data/prepare/instruction/test.jsonl"
    entries.parent.mkdir(parents=True)
    task = {"instruction": "Name a colour.", "input": ""}
    entries.write_text(
        "".join(json.dumps(task | {"output": each}) + "\n" for each in ("Red.", "Blue."))
    )
    said_by = {
        "instruct": ("Red.", 100, 20),
        "prefer": ("Blue.", 20, 100),
        "pretrain": ("Grey.", 40, 30),
    }
    for name, (answer, *scores) in said_by.items():
        own = [
            task | {"output": each, "kind": None, "answer": answer} for each in ("Red.", "Blue.")
        ]
        chain(repository, name, own, scores)
    lines = said()
    assert [line for line in lines if line.split()[0] in ("instruct", "prefer", "pretrain")][:3] == [
        "pretrain 2 1 0 40.0", "instruct 2 1 0 100.0", "prefer 2 1 0 20.0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "an arena needs two players, and there are none"),
        ({"x.json": rows("{n}")}, "an arena needs two players, and there is only x"),
        (
            {"x.json": rows("{n}"), "y.json": [{"instruction": "Sing.", "output": "La."}]},
            "no two of x, y answered the same instruction; answers are matched by",
        ),
        ({"x.json": rows("{n}"), "x.jsonl": rows("{n}")}, "there is a player 'x' already"),
        (
            {"x.json": rows("{n}"), "tie.json": rows("{n}")},
            "no outcome could tell a player 'tie' from a tie",
        ),
    ],
)
def test_an_arena_without_a_game_is_refused(repository, files, reason):
    for name, content in files.items():
        (repository / name).write_text(json.dumps(content))
    with pytest.raises(UserError, match=reason):
        said(*(repository / name for name in files))


def test_a_judge_that_is_not_there_cannot_be_asked_for(repository):
    chain(repository, "instruct", rows("It is {n}."))
    chain(repository, "pretrain", rows("{n}"))
    with pytest.raises(UserError, match="--by judge: no embedded judge; run stage grader"):
        said(by="judge")


def test_outcomes_that_cannot_be_written_stop_an_arena_before_it_begins(repository):
    with pytest.raises(UserError, match="cannot be written: a folder"):
        said(out=repository)


def test_models_that_the_chain_has_skipped_are_no_players(repository):
    """As with `download.instruction: null`: an empty list stands in place of their answers."""
    for name in ("pretrain", "instruct", "prefer"):
        chain(repository, name, [])
    for name in ("instruct", "prefer"):
        skipped.write(repository / "results" / name, "download.instruction is null")
    paths = [repository / f"{name}.json" for name in "ab"]
    for path, answer in zip(paths, ("{n}", "It is {n}."), strict=True):
        path.write_text(json.dumps(rows(answer)))
    lines = said(*paths, by="words")
    assert "a 8 8 0" in " ".join(lines)
    assert not any(line.startswith(("pretrain", "instruct", "prefer")) for line in lines)
