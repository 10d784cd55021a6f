"""Where a run stands. All of it is saved, and nothing else is needed to go on: batches, rates and
random numbers are functions of the step.
"""

from dataclasses import dataclass, field
from typing import Any

Figures = dict[str, float]
Row = dict[str, Any]  # figures at a step, with its number; None: not measured there


@dataclass
class Progress:
    """Steps and tokens done, the curve so far, and since its last row the losses of the task and of
    what is replayed beside it.
    """

    step: int = 0
    tokens: int = 0  # of all processes: the position in the data
    curve: list[Row] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    replayed: list[float] = field(default_factory=list)
    skipped: int = 0  # steps so far whose batch held nothing to learn
