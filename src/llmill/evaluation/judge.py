"""The embedded judge: answers scored from 0 to 100 by the model that stage `grader` trained, or by
each of several that differ in their seed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from llmill.evaluation.scoring import Progress, head_outputs, in_silence
from llmill.model import checkpoint
from llmill.model.checkpoint import AnyModel, Checkpoint
from llmill.tasks import grading

BATCH_SIZE = 32  # of no influence on a score
DIGITS = 4  # of a score, behind the point
SEED = "seed_"  # begins the name of a further judge's folder, in that of the first


def place(folder: Path, seed: int) -> Path:
    """The checkpoint of the judge of a further seed, in that of the first: what reads one reads
    all of them.
    """
    return folder / f"{SEED}{seed}"


def every(folder: Path) -> list[Path]:
    """The checkpoints of all judges: the first seed's, and those of further ones by seed."""
    others = folder.glob(f"{SEED}*")
    return [folder, *sorted(others, key=lambda each: int(each.name.removeprefix(SEED)))]


def grade_by_all(
    folder: Path, rows: Sequence[Mapping[str, Any]], progress: Progress = in_silence
) -> list[list[float]]:
    """The scores by every judge, a list each, as `grade` gives them."""
    folders = every(folder)

    def of(number: int) -> Progress:
        return lambda done, total: progress(number * total + done, len(folders) * total)

    return [grade(checkpoint.load(each), rows, of(i)) for i, each in enumerate(folders)]


def mean_scores(scores: Sequence[Sequence[float]]) -> list[float]:
    """What several judges give the answers: their means; of one judge its scores as they are."""
    if len(scores) == 1:
        return list(scores[0])
    return [round(sum(each) / len(each), DIGITS) for each in zip(*scores, strict=True)]


def runs(
    rows: Sequence[Mapping[str, Any]], what: Literal["score", "judge"]
) -> dict[str, list[float]]:
    """What stage `judge` wrote of these answers, by the seed of the judge; of one judge under "".
    Where a rule decides, every judge's `score` is the rule's.
    """
    seeds = rows[0].get("by_seed", {})
    if not seeds:
        return {"": [row[what] for row in rows]}
    own = [what == "judge" or row["rule"] is None for row in rows]
    return {
        seed: [row["by_seed"][seed] if x else row[what] for row, x in zip(rows, own, strict=True)]
        for seed in seeds
    }


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
