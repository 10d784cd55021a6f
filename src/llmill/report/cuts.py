"""The table of what the stages cut or left out because it is too long, and of the share of tokens
that is learnt.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from llmill.report import form
from llmill.report.files import Results
from llmill.report.form import number
from llmill.report.summary import FORMATS
from llmill.report.tables import Table
from llmill.tasks import split


class Count(NamedTuple):
    """A count in the metrics of a stage, and the places of the numbers that it is a part of."""

    stage: str
    path: str
    what: str
    of: tuple[str, ...] = ()  # `stage:path`; the numbers are added


LEARNT = "learnt_share"
MESSAGES, INSTRUCTIONS = "prepare:classification", "prepare:instruction"
PROMPTS = "test prompts that leave no room for an answer in the context: only their end is read"
QUESTIONS = "questions whose prompt does not fit into the context, {} format: only its end is read"
COUNTS = (
    Count("classify", "messages_cut", "messages longer than classify.max_length: only their end is "
        "read", (*(f"{MESSAGES}.{part}.rows" for part in split.NAMES), f"{MESSAGES}.tests")),
    Count("instruct", "instructions_cut", "training and validation instructions longer than the "
        "context: only their end is learnt",
        (f"{INSTRUCTIONS}.train.rows", f"{INSTRUCTIONS}.validate.rows")),
    Count("instruct", "test_prompts_cut", PROMPTS, ("instruct:test_instructions",)),
    Count("prefer", "pairs_too_long", "pairs longer than the context: left out",
        (*(f"prefer:{part}_pairs" for part in split.NAMES), "prefer:pairs_too_long")),
    Count("prefer", "test_prompts_cut", PROMPTS, ("prefer:test_instructions",)),
    *(Count("mmlu", f"prompts_cut.{kind}", QUESTIONS.format(kind), ("mmlu:questions",))
        for kind in FORMATS),
)  # fmt: skip


def counts(results: Results) -> Table:
    """Every count that the stages have in their metrics. The variants of a stage read the same
    data, so the table shows the first of them.
    """
    made = {stage: _metrics(results, stage) for stage in ("prepare", *(c.stage for c in COUNTS))}
    rows = []
    if (share := made["instruct"].get(LEARNT)) is not None:
        what = "learnt tokens of the training instructions, as a share of all their tokens"
        rows.append(("instruct", what, number(share, "share"), form.DASH))
    for stage, path, what, of in COUNTS:
        count = form.at(made[stage], path)
        if count is not None:
            rows.append((stage, what, number(count, "count"), number(_sum(made, of), "count")))
    return Table(("stage", "what", "number", "of"), rows, left=2)


def _metrics(results: Results, stage: str) -> Mapping[str, Any]:
    addresses = results.made(stage)
    return results.metrics[addresses[0]] if addresses else {}


def _sum(made: Mapping[str, Mapping[str, Any]], places: tuple[str, ...]) -> float | None:
    """Return the sum of the numbers at the places; a place may hold several by name. Return None if
    the first is missing.
    """
    found: list[float | None] = []
    for place in places:
        stage, _, path = place.partition(":")
        item = form.at(made[stage], path)
        found += item.values() if isinstance(item, dict) else [item]
    return sum(x for x in found if x is not None) if found and found[0] is not None else None
