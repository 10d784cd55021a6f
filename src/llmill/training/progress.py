"""The progress of a run. All of it is saved with the weights and the optimizers; batches, learning
rates and random numbers are functions of the step.
"""

from dataclasses import dataclass, field
from typing import Any

Figures = dict[str, float]
Row = dict[str, Any]  # figures at a step, with its number; None: not measured at this step


@dataclass
class TrainingProgress:
    """Steps and tokens so far, the curve so far, and the losses of the task and of replayed text
    since its last row.
    """

    step: int = 0
    tokens: int = 0  # over all processes: the position in the data
    curve: list[Row] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    replayed: list[float] = field(default_factory=list)
    skipped: int = 0  # steps so far whose loss mask excluded every target
