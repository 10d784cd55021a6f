"""The embedded judge reads the rows that the grader learnt on, and its scores are its outputs."""

import pytest
import torch

from llmill.evaluation.judge import grade
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
