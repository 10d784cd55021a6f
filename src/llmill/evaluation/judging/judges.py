"""Several embedded judges that differ in their seed: where each lies, and their scores together.

No model is loaded here, so that stages `grader` and `report` depend on none of its scoring.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

DIGITS = 4  # of a score, behind the point
SEED = "seed_"  # begins the name of a further judge's folder, in that of the first


def folder_of(folder: Path, seed: int) -> Path:
    """The checkpoint of the judge of a further seed, in that of the first: what reads one reads
    all of them.
    """
    return folder / f"{SEED}{seed}"


def every(folder: Path) -> list[Path]:
    """The checkpoints of all judges: the first seed's, and those of further ones by seed."""
    others = folder.glob(f"{SEED}*")
    return [folder, *sorted(others, key=lambda each: int(each.name.removeprefix(SEED)))]


def mean_scores(scores: Sequence[Sequence[float]]) -> list[float]:
    """What several judges give the answers: their means; of one judge its scores as they are."""
    if len(scores) == 1:
        return list(scores[0])
    return [round(sum(each) / len(each), DIGITS) for each in zip(*scores, strict=True)]


def scores_by_seed(
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
