"""The embedded judge: the model, or each of several (`judges.py`), that stage `grader` trained
scores answers from 0 to 100.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmill.contract.progress import Progress, in_silence
from llmill.evaluation.inference.scoring import head_outputs
from llmill.evaluation.judging.judges import DIGITS, every
from llmill.model import checkpoint
from llmill.model.checkpoint import AnyModel, Checkpoint
from llmill.tasks import grading

BATCH_SIZE = 32  # does not change a score


def grade_by_all(
    folder: Path, rows: Sequence[Mapping[str, Any]], progress: Progress = in_silence
) -> list[list[float]]:
    """Return the scores of `grade` by every judge, one list per judge."""
    folders = every(folder)

    def of(number: int) -> Progress:
        return lambda done, total: progress(number * total + done, len(folders) * total)

    return [grade(checkpoint.load(each), rows, of(i)) for i, each in enumerate(folders)]


def grade(
    grader: Checkpoint[AnyModel],
    rows: Sequence[Mapping[str, Any]],
    progress: Progress = in_silence,
) -> list[float]:
    """Score each row's `answer` against its reference `output`, clamped to [0, 100]."""
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
