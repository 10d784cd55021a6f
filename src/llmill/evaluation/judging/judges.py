"""Several embedded judges that differ in their seed: their folders, and their scores together.

This module loads no model, so that stages `grader` and `report` do not depend on scoring code.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

DIGITS = 4  # decimals of a score
SEED = "seed_"  # prefix of a further judge's folder, which is inside the first judge's folder


def folder_of(folder: Path, seed: int) -> Path:
    """Return the checkpoint folder of a further seed, inside the first one's `folder`: whoever
    reads the first judge reads all of them.
    """
    return folder / f"{SEED}{seed}"


def every(folder: Path) -> list[Path]:
    """Return the checkpoint folders of all judges: the first seed's, then the others by seed."""
    others = folder.glob(f"{SEED}*")
    return [folder, *sorted(others, key=lambda each: int(each.name.removeprefix(SEED)))]


def mean_scores(scores: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean score of each answer over judges, rounded; one judge's scores unchanged."""
    if len(scores) == 1:
        return list(scores[0])
    return [round(sum(each) / len(each), DIGITS) for each in zip(*scores, strict=True)]


def scores_by_seed(
    rows: Sequence[Mapping[str, Any]], what: Literal["score", "judge"]
) -> dict[str, list[float]]:
    """Return the scores that stage `judge` wrote, by the seed of the judge ("" for a single judge).
    If a rule decides an answer, every judge's `score` is the rule's.
    """
    seeds = rows[0].get("by_seed", {})
    if not seeds:
        return {"": [row[what] for row in rows]}
    own = [what == "judge" or row["rule"] is None for row in rows]
    return {
        seed: [row["by_seed"][seed] if x else row[what] for row, x in zip(rows, own, strict=True)]
        for seed in seeds
    }
