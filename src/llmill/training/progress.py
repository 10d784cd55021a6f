"""Where a run stands. All of it is saved, and nothing else is needed to go on: batches, rates and
random numbers are functions of the step.
"""

from dataclasses import dataclass, field

Figures = dict[str, float | None]  # None: not measured at that step


@dataclass
class Progress:
    """Steps and tokens done, the curve so far, and the losses since its last row."""

    step: int = 0
    tokens: int = 0  # of all processes: the position in the data
    curve: list[Figures] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
