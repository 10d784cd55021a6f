"""Learning-rate schedules as pure functions of the step.

`factor` is a multiple of the peak learning rate, in [0, 1], by which the loop multiplies that rate.
"""

import math

from llmill.training.settings import Schedule


def factor(step: int, schedule: Schedule, max_steps: int) -> float:
    """Return the multiple of the peak learning rate at `step` (0-based): a linear warm-up, then the
    decay to `min_factor`.
    """
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    progress = (step - schedule.warmup_steps) / max(1, max_steps - schedule.warmup_steps)
    left = DECAY[schedule.decay](min(1.0, progress), schedule.decay_share)
    return schedule.min_factor + (1 - schedule.min_factor) * left


def _cosine(progress: float, decay_share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def _linear(progress: float, decay_share: float) -> float:
    return 1 - progress


def _constant_linear(progress: float, decay_share: float) -> float:
    return min(1.0, (1 - progress) / decay_share)


DECAY = {"cosine": _cosine, "linear": _linear, "constant_linear": _constant_linear}
