"""The embedded judge reads the rows that the grader learnt on, and its scores are its outputs."""

import pytest
import torch

from llmill.evaluation.judging.judge import grade, grade_by_all
from llmill.evaluation.judging.judges import every, folder_of, mean_scores, scores_by_seed
from llmill.model import checkpoint as checkpoints
from llmill.model.checkpoint import Checkpoint
from llmill.tasks import grading
from tests.evaluation.toys import bytes_tokenizer, headed

ROWS = [
    {"instruction": "Add.", "input": f"{i} + {i}", "output": str(2 * i), "answer": "x" * (i % 7)}
    for i in range(20)
]


def grader(scale=1.0):
    model = headed(1, block_size=256)
    with torch.no_grad():
        model.head.weight.mul_(scale)
        model.head.bias.fill_(0.5)
    return Checkpoint(model, bytes_tokenizer(), None, 256)


@torch.inference_mode()
def outputs(checkpoint, row):
    texts = (row[key] for key in ("instruction", "input", "output", "answer"))
    ids = grading.ids(checkpoint.tokenizer, *texts, 256)
    return float(checkpoint.model(torch.tensor([ids]), torch.tensor([len(ids)])))


def test_a_score_is_a_hundred_times_the_output():
    checkpoint = grader(scale=0.05)
    expected = [100 * outputs(checkpoint, row) for row in ROWS]
    assert max(expected) - min(expected) > 1
    assert grade(checkpoint, ROWS) == pytest.approx(expected, abs=1e-3)


def test_scores_stay_between_0_and_100():
    checkpoint = grader(scale=1000.0)
    raw = [outputs(checkpoint, row) for row in ROWS]
    with torch.no_grad():
        checkpoint.model.head.bias.sub_((max(raw) + min(raw)) / 2)
    found = grade(checkpoint, ROWS)
    assert set(found) <= {0.0, 100.0}
    assert len(set(found)) == 2


def test_a_score_does_not_depend_on_the_other_answers():
    checkpoint = grader(scale=0.05)
    alone = [grade(checkpoint, [row])[0] for row in ROWS]
    assert grade(checkpoint, ROWS[::-1]) == pytest.approx(alone[::-1], abs=1e-3)


def test_an_empty_answer_is_scored():
    row = {"instruction": "Add.", "input": "", "output": "2", "answer": ""}
    assert 0 <= grade(grader(), [row])[0] <= 100


def test_judges_of_further_seeds_are_read_by_seed_and_counted_as_one_work(tmp_path):
    folder = tmp_path / "checkpoint"
    for where, scale in (
        (folder, 0.05),
        (folder_of(folder, 10), 0.03),
        (folder_of(folder, 9), 0.01),
    ):
        checkpoints.save(where, grader(scale))
    assert [each.name for each in every(folder)] == ["checkpoint", "seed_9", "seed_10"]
    told = []
    given = grade_by_all(folder, ROWS, lambda *done: told.append(done))
    assert given == [grade(grader(scale), ROWS) for scale in (0.05, 0.01, 0.03)]
    assert told[-1] == (60, 60)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_the_mean_of_one_judge_is_its_score_and_a_rule_is_every_judges():
    assert mean_scores([[1.23456, 2.0]]) == [1.23456, 2.0]
    assert mean_scores([[1.0, 2.0], [2.0, 4.0], [2.0, 3.0]]) == [1.6667, 3.0]
    table = [
        {"rule": None, "judge": 15.0, "score": 15.0, "by_seed": {"1": 10.0, "2": 20.0}},
        {"rule": True, "judge": 35.0, "score": 100.0, "by_seed": {"1": 30.0, "2": 40.0}},
    ]
    assert scores_by_seed(table, "judge") == {"1": [10.0, 30.0], "2": [20.0, 40.0]}
    assert scores_by_seed(table, "score") == {"1": [10.0, 100.0], "2": [20.0, 100.0]}
    assert scores_by_seed([{"judge": None, "score": 0.0}], "score") == {"": [0.0]}
