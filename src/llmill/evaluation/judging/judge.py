"""The embedded judge: answers scored from 0 to 100 by the model that stage `grader` trained, or by
each of several (`judges.py`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmill.evaluation.inference.scoring import Progress, head_outputs, in_silence
from llmill.evaluation.judging.judges import DIGITS, every
from llmill.model import checkpoint
from llmill.model.checkpoint import AnyModel, Checkpoint
from llmill.tasks import grading

BATCH_SIZE = 32  # of no influence on a score


def grade_by_all(
    folder: Path, rows: Sequence[Mapping[str, Any]], progress: Progress = in_silence
) -> list[list[float]]:
    """The scores by every judge, a list each, as `grade` gives them."""
    folders = every(folder)

    def of(number: int) -> Progress:
        return lambda done, total: progress(number * total + done, len(folders) * total)

    return [grade(checkpoint.load(each), rows, of(i)) for i, each in enumerate(folders)]


def grade(
    grader: Checkpoint[AnyModel],
    rows: Sequence[Mapping[str, Any]],
    progress: Progress = in_silence,
) -> list[float]:
    """The score of each row's `answer` beside its `output`, the reference, clamped to [0, 100]."""
    block_size = grader.model.config.block_size
    texts = [
        grading.ids(
            grader.tokenizer,
            row["instruction"],
            row["input"],
            row["output"],
            row["answer"],
            block_size,
        )
        for row in rows
    ]
    outputs = head_outputs(grader.model, texts, BATCH_SIZE, progress)  # (N, 1)
    return [round(100 * score, DIGITS) for score in outputs[:, 0].clamp(0, 1).tolist()]
