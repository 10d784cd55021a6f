"""Stage judge: both backends over the same answers, figures, counts, and what it refuses."""

import json
from hashlib import sha256
from types import SimpleNamespace

import pytest
import torch

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.evaluation.judging.judges import folder_of
from llmill.evaluation.statistics.intervals import pairs_right
from llmill.model import checkpoint
from llmill.stages.judge import decided, histogram, least_by_kind, run, short_of
from llmill.stages.settings.judge import Bar, Judge
from tests.conftest import ROOT
from tests.evaluation.judge_server import chat, serving, settings
from tests.evaluation.toys import bytes_tokenizer, headed
from tests.jobs import Job

ANSWERS = [
    {
        "instruction": "Capital?",
        "input": "France",
        "output": "Paris",
        "kind": "fact",
        "answer": "paris.",
    },
    {
        "instruction": "Capital?",
        "input": "Italy",
        "output": "Rome",
        "kind": "fact",
        "answer": "Bern",
    },
    {"instruction": "Opposite?", "input": "hot", "output": "cold", "kind": "word", "answer": "icy"},
    {"instruction": "Opposite?", "input": "up", "output": "down", "kind": "word", "answer": " "},
    {"instruction": "Greet.", "input": "", "output": "Hello", "kind": None, "answer": "Hi"},
]
BAR = Bar(auc=0.9, by_kind=0.8, above_another=0.95, unrelated=10.0)
GRADER = {
    "gives": {name: {"value": given} for name, given in (("empty", 12.5), ("constant", 10.0))},
    "above_another": {"value": 0.5},
}
LISTED = [{"instruction": "Greet.", "input": "", "output": "Hello", "paraphrases": ["Hi"]}]


def save_judge(folder, seed):
    """A random judge, of which no score is at an end."""
    model = headed(1, seed, block_size=256)
    with torch.no_grad():
        model.head.weight.mul_(0.05)
        model.head.bias.fill_(0.5)
    checkpoint.save(folder, checkpoint.Checkpoint(model, bytes_tokenizer(), None, 256))


@pytest.fixture
def paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("LLMILL_TEST_KEY", raising=False)
    folder = tmp_path / "results" / "instruct" / "answers"
    folder.mkdir(parents=True)
    record.write_json(folder / "instruct.json", ANSWERS)
    prepared = tmp_path / "data/prepare/instruction/test.jsonl"
    prepared.parent.mkdir(parents=True)
    prepared.write_text("".join(f"{json.dumps(entry)}\n" for entry in LISTED))
    save_judge(tmp_path / "results" / "grader" / "checkpoint", 0)
    record.write_json(tmp_path / "results" / "grader" / "metrics.json", GRADER)
    return tmp_path


def several(paths):
    """Give the grader two judges more: seed 4 fails one bar, seed 12 reaches all."""
    judges = paths / "results/grader/checkpoint"
    for seed in (12, 4):
        save_judge(folder_of(judges, seed), seed)
    gives = {name: {"value": 1.0} for name in ("empty", "constant")}
    good = {"gives": gives, "above_another": {"value": 1.0}}
    by_seed = {"3": GRADER, "4": good | {"above_another": {"value": 0.94}}, "12": good}
    record.write_json(paths / "results/grader/metrics.json", {**GRADER, "by_seed": by_seed})


def params(backend="grader", url="http://127.0.0.1:9/v1", **changes):
    server = settings(url, model="judge-1", seed=1, retries=0, **changes)
    judge = Judge(
        seed=1, threads=1, backend=backend, openai=server, confidence=0.95, bootstrap=200, bar=BAR
    )
    return SimpleNamespace(judge=judge)


def written(job, name):
    return json.loads((job.out / name).read_text())


def test_rules_decide_what_they_can_and_the_grader_scores_the_rest(paths, tmp_path):
    job = Job(tmp_path / "out", "instruct")
    run(params(), job)
    metrics, scores = written(job, "metrics.json"), written(job, "scores.json")
    assert all(0 <= row["score"] <= 100 for row in scores)
    assert [row["rule"] for row in scores] == [True, None, None, False, True]
    assert metrics["decided"] == {"right": 2, "wrong": 1}
    assert [row["score"] for row in scores if row["rule"] is not None] == [100.0, 0.0, 100.0]
    assert all(row["score"] == row["judge"] for row in scores if row["rule"] is None)
    assert len({row["judge"] for row in scores}) == 5  # of what is decided, too
    assert metrics["mean"]["value"] == pytest.approx(sum(row["score"] for row in scores) / 5)
    assert metrics["mean"]["low"] <= metrics["mean"]["value"] <= metrics["mean"]["high"]
    assert (metrics["n"], metrics["empty"], metrics["unparseable"]) == (5, 1, 0)
    assert (metrics["exact_match"]["value"], metrics["exact_match"]["n"]) == (0.2, 5)
    assert (metrics["backend"], metrics["model"]) == ("grader", "grader")
    assert sum(metrics["histogram"]["counts"]) == 5
    assert scores[0] == {
        "instruction": "Capital?",
        "input": "France",
        "reference": "Paris",
        "answer": "paris.",
        "kind": "fact",
        "rule": True,
        "judge": scores[0]["judge"],
        "score": 100.0,
        "exact": True,
        "rouge_l": 1.0,
    }
    assert [row["rouge_l"] for row in scores] == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert (metrics["rouge_l"]["value"], metrics["rouge_l"]["n"]) == (0.2, 5)


def test_the_lists_of_one_task_decide_nothing_of_another_that_ends_in_the_same_message(tmp_path):
    asked = {"instruction": "And its capital?", "input": ""}
    listed = [
        asked | {"output": "Paris", "paraphrases": ["It is Paris."], "wrong": ["It is Madrid."]},
        asked | {"output": "Madrid", "paraphrases": ["It is Madrid."], "wrong": ["It is Paris."]},
    ]
    file = tmp_path / "test.jsonl"
    file.write_text("".join(f"{json.dumps(entry)}\n" for entry in listed))
    rows = [
        asked | {"output": output, "answer": f"It is {city}."}
        for output in ("Paris", "Madrid") for city in ("Paris", "Madrid")
    ]  # fmt: skip
    assert decided(rows, file) == [True, False, False, True]


def test_the_judge_is_judged_by_the_pairs_of_a_right_and_another_answer(paths, tmp_path):
    job = Job(tmp_path / "out", "instruct")
    run(params(), job)
    metrics, scores = written(job, "metrics.json"), written(job, "scores.json")
    right = [row["judge"] for row in scores if row["rule"] is True]
    others = [row["judge"] for row in scores if row["rule"] is not True]
    above = [one > other for one in right for other in others]
    assert (metrics["auc"]["value"], metrics["auc"]["n"]) == (sum(above) / 6, 6)
    # "paris." is longer than each of the others, "Hi" than " " alone; ROUGE-L knows the first.
    assert metrics["auc_longest"]["value"] == pytest.approx(4 / 6)
    assert metrics["auc_rouge_l"]["value"] == pytest.approx((3 + 3 / 2) / 6)
    assert "auc" in metrics["by_kind"]["fact"]
    assert "auc" not in metrics["by_kind"]["word"]  # none of them is right


def test_what_the_judge_does_not_reach_is_said(paths, tmp_path):
    job = Job(tmp_path / "out", "instruct")
    run(params(), job)
    assert written(job, "metrics.json")["short_of"][-2:] == [
        "50.0% of references above another task's, where 95.0% are asked for",
        "12.5 to the empty answer, where at most 10 is asked for",
    ]
    kinds = {
        "add": {"value": 0.75, "high": 0.79},
        "fact": {"value": 0.8, "high": 0.9},
        "word": {"value": 0.5, "high": 0.99},  # too few answers to tell
    }
    assert short_of(BAR, GRADER, {"value": 0.25}, kinds)[:2] == [
        "25.0% of right answers above others, where 90.0% are asked for",
        "75.0% of right answers above others in tasks of kind add, where 80.0% are asked for",
    ]


def test_without_a_right_answer_the_order_of_answers_is_not_measured(paths, tmp_path):
    measured, wrong = Job(tmp_path / "a", "instruct"), Job(tmp_path / "b", "instruct")
    run(params(), measured)
    rows = [{**row, "answer": "Nothing."} for row in ANSWERS]
    record.write_json(paths / "results/instruct/answers/instruct.json", rows)
    run(params(), wrong)
    assert written(measured, "metrics.json")["unmeasured"] == []
    assert "auc" not in written(wrong, "metrics.json")
    assert written(wrong, "metrics.json")["unmeasured"] == [
        "no right answer to measure the order of answers"
    ]


def test_of_several_judges_a_score_is_the_mean_and_what_each_gives_stands_beside_it(
    paths, tmp_path
):
    run(params(), Job(tmp_path / "one", "instruct"))
    several(paths)
    run(params(), Job(tmp_path / "several", "instruct"))
    one, scores = (record.read_json(tmp_path / n / "scores.json") for n in ("one", "several"))
    assert all(list(row["by_seed"]) == ["3", "4", "12"] for row in scores)
    assert [row["by_seed"]["3"] for row in scores] == [row["judge"] for row in one]
    for row in scores:
        assert len(set(row["by_seed"].values())) == 3
        assert row["judge"] == pytest.approx(sum(row["by_seed"].values()) / 3, abs=1e-4)
    assert [row["rule"] for row in scores] == [True, None, None, False, True]
    assert [row["score"] for row in scores if row["rule"] is not None] == [100.0, 0.0, 100.0]
    assert all(row["score"] == row["judge"] for row in scores if row["rule"] is None)


def test_intervals_of_several_judges_cover_seeds_too(paths, tmp_path):
    several(paths)
    job = Job(tmp_path / "out", "instruct")
    run(params(), job)
    metrics, scores = written(job, "metrics.json"), written(job, "scores.json")
    right = [float(row["rule"] is True) for row in scores]
    for seed, auc in metrics["auc_by_seed"].items():
        judged = [row["by_seed"][seed] for row in scores]
        assert auc["value"] == pairs_right(right, judged)["value"]
        assert auc["covers"] == "items"
    each = [auc["value"] for auc in metrics["auc_by_seed"].values()]
    assert metrics["auc"]["value"] == pytest.approx(sum(each) / 3)
    assert metrics["mean"]["value"] == pytest.approx(sum(r["score"] for r in scores) / 5, abs=1e-4)
    covers = {name: metrics[name]["covers"] for name in ("mean", "auc", "auc_longest", "rouge_l")}
    assert covers == {"mean": "both", "auc": "both", "auc_longest": "items", "rouge_l": "items"}
    assert metrics["by_kind"]["fact"]["mean"]["covers"] == "both"
    assert list(metrics["by_kind"]["fact"]["auc_by_seed"]) == ["3", "4", "12"]


def test_each_of_several_judges_must_reach_the_bar(paths, tmp_path):
    several(paths)
    job = Job(tmp_path / "out", "instruct")
    bar = BAR.model_copy(update={"auc": 0.0, "by_kind": 0.0})
    run(SimpleNamespace(judge=params().judge.model_copy(update={"bar": bar})), job)
    assert written(job, "metrics.json")["short_of"] == [
        "50.0% of references above another task's, where 95.0% are asked for (the judge of seed 3)",
        "12.5 to the empty answer, where at most 10 is asked for (the judge of seed 3)",
        "94.0% of references above another task's, where 95.0% are asked for (the judge of seed 4)",
    ]


def test_the_kind_and_the_judge_with_the_fewest_pairs_in_order_are_named():
    def of(pairs, **values):
        return {"auc_by_seed": {s: {"value": v, "n": pairs} for s, v in values.items()}}

    kinds = {"add": of(1, a=0.7), "fact": of(6, a=0.9, b=0.7), "word": of(9, a=1.0), "none": {}}
    assert least_by_kind(kinds) == {
        "least_by_kind": {"kind": "fact", "seed": "b", "auc": 0.7, "pairs": 6}
    }
    assert least_by_kind({"none": {}}) == {}


def test_figures_by_kind_leave_out_answers_of_no_kind(paths, tmp_path):
    job = Job(tmp_path / "out", "instruct")
    run(params(), job)
    found = written(job, "metrics.json")["by_kind"]
    assert {kind: figures["n"] for kind, figures in found.items()} == {"fact": 2, "word": 2}
    assert found["fact"]["exact_match"]["value"] == 0.5
    assert [found[kind]["rouge_l"]["value"] for kind in ("fact", "word")] == [0.5, 0.0]


def test_two_runs_write_the_same_bytes(paths, tmp_path):
    first, second = Job(tmp_path / "1", "instruct"), Job(tmp_path / "2", "instruct")
    run(params(), first)
    run(params(), second)
    for name in ("metrics.json", "scores.json"):
        assert (first.out / name).read_bytes() == (second.out / name).read_bytes()


def test_a_server_scores_and_a_reply_that_is_no_score_is_counted_not_guessed(paths, tmp_path):
    replies = {"Italy": "20", "hot": "no idea"}  # of the others the rules know
    with serving() as server:
        server.reply = lambda request: next(v for k, v in replies.items() if k in str(request))
        job = Job(tmp_path / "out", "instruct")
        run(params("openai", server.url), job)
        again = Job(tmp_path / "again", "instruct")
        run(params("openai", server.url), again)
        assert len(server.asked) == 2
    metrics = written(job, "metrics.json")
    assert metrics["mean"]["value"] == 55.0
    assert (metrics["mean"]["n"], metrics["n"], metrics["unparseable"]) == (4, 5, 1)
    assert "auc" not in metrics
    assert (metrics["backend"], metrics["model"]) == ("openai", "judge-1")
    assert metrics["by_kind"]["word"]["mean"]["n"] == 1
    assert [row["score"] for row in written(job, "scores.json")] == [100, 20, None, 0, 100]
    assert written(again, "metrics.json") == metrics
    assert (again.out / "scores.json").read_bytes() == (job.out / "scores.json").read_bytes()
    assert len(list((tmp_path / "scratch" / "judge_cache").iterdir())) == 2


def test_how_the_server_was_asked_and_what_it_took_stand_beside_the_scores(paths, tmp_path):
    """Two samples: of Italy 20 and 40, of "hot" a sentence and 70."""
    replies = [("20", (100, 1)), ("40", (100, 1)), ("no idea", (90, 2)), ("70", None)]
    with serving() as server:
        server.plan = [(200, chat(text, usage=usage)) for text, usage in replies]
        job = Job(tmp_path / "out", "instruct")
        price = {"input": 2.0, "output": 10.0}
        run(params("openai", server.url, samples=2, prompt="score-2", price=price), job)
        assert '{"reason": "...", "score": 0}' in server.asked[0]["messages"][0]["content"]
    metrics, scores = written(job, "metrics.json"), written(job, "scores.json")
    file = ROOT / "src/llmill/evaluation/judging/prompts/score-2.txt"
    spread = metrics["server"].pop("spread")
    assert (spread["value"], spread["n"]) == (pytest.approx(200**0.5), 1)
    assert metrics["server"] == {
        "prompt": {"name": "score-2", "sha256": sha256(file.read_bytes()).hexdigest()},
        "samples": 2,
        "replies": 4,
        "unread": 1,
        "tokens": {"input": 290, "output": 4, "uncounted": 1, "cost": pytest.approx(0.00062)},
    }
    assert [row["score"] for row in scores] == [100, 30, 70, 0, 100]
    assert [row["samples"] for row in scores] == [[], [20, 40], [None, 70], [], []]
    assert [row["unread"] for row in scores] == [[], [], ["no idea"], [], []]
    assert metrics["unparseable"] == 0


def test_a_server_that_goes_away_leaves_what_was_scored(paths, tmp_path):
    with serving() as server:
        server.reply = "50"
        url = server.url
        record.write_json(tmp_path / "results/instruct/answers/instruct.json", ANSWERS[1:2])
        run(params("openai", url), Job(tmp_path / "out", "instruct"))
    record.write_json(tmp_path / "results/instruct/answers/instruct.json", ANSWERS)
    job = Job(tmp_path / "again", "instruct")
    with pytest.raises(
        UserError, match=r"away .* 1 of 2 answers are scored and kept in scratch/judge"
    ):
        run(params("openai", url), job)
    assert list(job.out.iterdir()) == []


def test_a_judge_that_never_gives_a_number_is_refused(paths, tmp_path):
    with serving() as server:
        server.reply = "As a language model I like all answers."
        with pytest.raises(UserError, match="none of 2 replies of model 'judge-1' is an integer"):
            run(params("openai", server.url), Job(tmp_path / "out", "instruct"))


def test_no_answers_are_refused(paths, tmp_path):
    record.write_json(tmp_path / "results/instruct/answers/instruct.json", [])
    with pytest.raises(UserError, match=r"instruct.json: no answers to judge"):
        run(params(), Job(tmp_path / "out", "instruct"))


def test_a_missing_file_of_answers_is_named(paths, tmp_path):
    with pytest.raises(UserError, match=r"answers/pretrain.json: missing"):
        run(params(), Job(tmp_path / "out", "pretrain"))


def test_the_last_bin_of_the_histogram_holds_100():
    found = histogram([0, 9.9, 10, 95, 100])
    assert found["edges"] == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert found["counts"] == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]
