"""Interpolation of the weights before and after training, which gives up part of what was learned
to keep much of what was known (Wortsman et al. 2022, arXiv 2109.01903).
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from llmill.training.best import best_row, weights_of
from llmill.training.progress import Figures, Row


@torch.no_grad()
def load_between(
    model: nn.Module, before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float
) -> None:
    """Load the weights at the given share of the way from `before` to `after`."""
    model.load_state_dict(
        {name: torch.lerp(before[name], tensor, share) for name, tensor in after.items()}
    )


def load_best_between(
    model: nn.Module,
    before: Mapping[str, Tensor],
    shares: Sequence[float],
    measure: Callable[[nn.Module], Figures],
    figure: str,
) -> list[Row]:
    """Measure the model at each share of the way from `before`, and leave it at the best one.
    Return one row per share.
    """
    after = weights_of(model)
    rows: list[Row] = []
    for share in shares:
        load_between(model, before, after, share)
        rows.append({"share": share} | measure(model))
    kept = best_row(rows, figure)
    assert kept is not None, "every share is measured"
    load_between(model, before, after, kept["share"])
    return rows
