"""The weights of the best validation, which training may keep instead of its last weights, and
early stopping.

Both depend only on the curve, so a resumed run keeps the same weights and stops at the same step.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.training.progress import Row
from llmill.training.settings import Best

FILES = "best-*.safetensors"  # by step
HIGHER_IS_BETTER = ("exact_match",)


def best_row(curve: Sequence[Row], figure: str) -> Row | None:
    """Return the first row with the best value of a figure, or None if no row has it."""
    rows = [row for row in curve if row.get(figure) is not None]
    if not rows:
        return None
    sign = -1 if figure in HIGHER_IS_BETTER else 1
    return min(rows, key=lambda row: sign * row[figure])


def in_vain(curve: Sequence[Row], best: Best | None) -> bool:
    """Return whether none of the last `patience` validations was better than one before them."""
    if best is None or best.patience is None:
        return False
    rows = [row for row in curve if row.get(best.figure) is not None]
    kept = best_row(rows, best.figure)
    return kept is not None and len(rows) - 1 - rows.index(kept) >= best.patience


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a model's weights on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def keep(state: Path, model: nn.Module, curve: Sequence[Row], best: Best) -> None:
    """Save the weights if the last row of the curve is the best. Raises `UserError` for a figure
    that the training does not measure.
    """
    if best.figure not in curve[-1]:
        measured = ", ".join(name for name in curve[-1] if name.startswith("validation"))
        raise UserError(
            f"best.figure {best.figure}: this training does not measure it; there is {measured}"
        )
    if best_row(curve, best.figure) is curve[-1]:
        state.mkdir(parents=True, exist_ok=True)
        record.write_bytes(_file(state, curve[-1]), safetensors.torch.save(weights_of(model)))


def tidy(state: Path, curves: Iterable[Sequence[Row]], best: Best) -> None:
    """Remove all weights but the best of each curve: those of the saved states, from any of which
    the run may resume.
    """
    rows = (best_row(curve, best.figure) for curve in curves)
    needed = {_file(state, row) for row in rows if row is not None}
    for file in state.glob(FILES):
        if file not in needed:
            file.unlink()


def restore(state: Path, model: nn.Module, curve: Sequence[Row], best: Best) -> None:
    """Load the weights of the best row, which `keep` saved. Raises `UserError` if they are gone."""
    row = best_row(curve, best.figure)
    assert row is not None, "a validation ends every training"
    file = _file(state, row)
    if not file.exists():
        raise UserError(f"{file}: missing; remove {state}, and the same command trains anew")
    model.load_state_dict(safetensors.torch.load(file.read_bytes()))


def _file(state: Path, row: Row) -> Path:
    return state / FILES.replace("*", f"{row['step']:09}")
