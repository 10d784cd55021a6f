"""Rotary positions with a third of the operations, for a model whose matrix products are so fast
that the number of operations matters.
"""

import torch
from torch import Tensor, nn

from llmill.model.transformer import Rotary, Transformer


class QuickRotary(nn.Module):
    """Computes the same as `Rotary`. The first block of each step looks the angles up for all
    blocks, so only one thread at a time may use it.
    """

    cos: Tensor  # (T, D), for both halves
    sin: Tensor

    def __init__(self, rotary: Rotary):
        super().__init__()
        self.register_buffer("cos", torch.cat((rotary.cos, rotary.cos), dim=-1), persistent=False)
        self.register_buffer("sin", torch.cat((-rotary.sin, rotary.sin), dim=-1), persistent=False)
        self._places: Tensor | None = None  # the positions of the angles below
        self._angles: tuple[Tensor, Tensor] | None = None  # (B, 1, T, D) each

    def forward(self, x: Tensor, places: Tensor | None = None) -> Tensor:
        """Rotate x, (B, H, T, D), by its positions: counted from zero, or `places`, (B, T)."""
        cos, sin = self._at(x.size(-2), places)
        return torch.addcmul(x * cos, x.roll(x.size(-1) // 2, dims=-1), sin)

    def _at(self, t: int, places: Tensor | None) -> tuple[Tensor, Tensor]:
        if places is None:
            return self.cos[:t], self.sin[:t]
        if self._angles is None or places is not self._places:
            self._places = places
            self._angles = self.cos[places][:, None], self.sin[places][:, None]
        return self._angles


def replace_rotary(model: Transformer) -> None:
    """Replace the model's `Rotary`, if it has one, with one `QuickRotary` for all blocks."""
    rotary = next((part for part in model.modules() if isinstance(part, Rotary)), None)
    if rotary is not None:
        quick = QuickRotary(rotary)
        for block in model.blocks:
            block.set_submodule("attention.rotary", quick)
