"""Stops a training whose loss or gradient is not finite, before it changes a weight or is saved."""

import math
from pathlib import Path

import torch
from torch import Tensor

from llmill.contract.errors import UserError
from llmill.training import resume


class Check:
    """Stops training before the optimizer step if the loss or the gradient norm is not finite.

    On a GPU it stops one step later, to avoid waiting for the device; nothing is saved in between.
    """

    def __init__(self, device: torch.device, state: Path):
        self._lag, self._state = int(device.type == "cuda"), state
        self._waiting: list[tuple[Tensor, Tensor, int]] = []

    def __call__(self, loss: Tensor, norm: Tensor, step: int) -> None:
        """Add the figures of a step, and check those of the step that is due."""
        self._waiting.append((loss, norm, step))
        while len(self._waiting) > self._lag:
            self._look(*self._waiting.pop(0))

    def all(self) -> None:
        """Check all figures that still wait."""
        while self._waiting:
            self._look(*self._waiting.pop(0))

    def _look(self, loss: Tensor, norm: Tensor, step: int) -> None:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise UserError(
                f"step {step}: loss {float(loss)}, gradient norm {float(norm)}: not finite; "
                f"{resume.last_good(self._state)}; lower the rate"
            )
