"""Low-rank adapters (Hu et al. 2021): a frozen matrix W of the blocks becomes W + scale * B A, and
only A, (rank, in), and B, (out, rank), are trained. With `dora` (Liu et al. 2024) the rows of this
sum are scaled to lengths that are trained as well.

llmill stores query, key and value in one matrix, and gate and up in another. Each of them is a
target with its own A and B, as in models that store them separately. The next-token head is not a
target. A class or score head is new, and is trained in full besides the adapters.

Shapes: B batch, T time.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmill.contract.errors import UserError
from llmill.model.heads import ClassModel, ScoreModel
from llmill.model.settings import Adapter, Model
from llmill.model.transformer import Transformer

AnyModel = Transformer | ClassModel | ScoreModel

ADAPTERS = "adapters"  # part of the name of each adapter parameter
SHORTEST = 1e-12  # smallest divisor, so that a row of zeros stays zero


@dataclass(frozen=True)
class StoredAdapter:
    """An adapter without its foundation: its settings, the trained tensors by name, and the folder
    of the checkpoint that it belongs to.
    """

    settings: Adapter
    tensors: dict[str, Tensor]
    foundation: Path


class LowRank(nn.Module):
    """The low-rank change of one target with frozen rows `weight`, (out, in). It maps the layer's
    input, (B, T, in), to the addition to its output, (B, T, out). The addition starts at zero,
    because the matrix B does.
    """

    def __init__(self, weight: Tensor, settings: Adapter):
        super().__init__()
        outputs, inputs = weight.shape
        self.scale = settings.scale
        self.a = nn.Parameter(torch.empty(settings.rank, inputs))
        self.b = nn.Parameter(torch.zeros(outputs, settings.rank))
        self.dropout = nn.Dropout(settings.dropout)
        lengths = torch.linalg.norm(weight.detach(), dim=1) if settings.dora else None
        self.magnitude = None if lengths is None else nn.Parameter(lengths)  # (out,)
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        x = self.dropout(x)
        added = F.linear(F.linear(x, self.a), self.b) * self.scale
        if self.magnitude is None:
            return added
        ratio = self._ratio(weight, self.magnitude)
        return ((ratio - 1) * F.linear(x, weight) + ratio * added).to(added.dtype)

    def merged(self, weight: Tensor) -> Tensor:
        """Return the rows with the change, (out, in)."""
        changed = weight + self._product()
        if self.magnitude is None:
            return changed
        return self._ratio(weight, self.magnitude)[:, None] * changed

    def _product(self) -> Tensor:
        return self.b @ self.a * self.scale

    def _ratio(self, weight: Tensor, magnitude: Tensor) -> Tensor:
        """Return the trained length of each row over its present length, (out,). The latter is
        treated as a constant (section 4.3 of the paper).
        """
        with torch.no_grad():
            lengths = torch.linalg.norm(weight + self._product(), dim=1)
        return magnitude / lengths.clamp(min=SHORTEST)


class AdaptedLinear(nn.Module):
    """Frozen linear layer, (B, T, in) to (B, T, out), with a low-rank change of some targets. It
    shares the weights of the layer that it replaces.
    """

    def __init__(self, linear: nn.Linear, rows: dict[str, int], settings: Adapter):
        super().__init__()
        self.weight, self.bias, self.rows = linear.weight, linear.bias, rows
        self.adapters = nn.ModuleDict(
            {
                target: LowRank(weight, settings)
                for target, weight in self._rows().items()
                if settings.targets == "all" or target in settings.targets
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = F.linear(x, self.weight, self.bias).split(list(self.rows.values()), dim=-1)
        return torch.cat(
            [
                part + self.adapters[target](x, weight) if target in self.adapters else part
                for part, (target, weight) in zip(parts, self._rows().items(), strict=True)
            ],
            dim=-1,
        )

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return a plain layer that computes the same. The shared weights do not change."""
        parts = []
        for target, weight in self._rows().items():
            if target not in self.adapters:
                parts.append(weight)
                continue
            low_rank = self.adapters[target]
            assert isinstance(low_rank, LowRank), "nothing else is put there"
            parts.append(low_rank.merged(weight))
        changed = torch.cat(parts).detach()
        outputs, inputs = changed.shape
        linear = nn.Linear(inputs, outputs, bias=self.bias is not None, device="meta")
        linear.weight, linear.bias = nn.Parameter(changed), self.bias
        return linear

    def _rows(self) -> dict[str, Tensor]:
        """Return the rows of each target, (out, in)."""
        return dict(zip(self.rows, self.weight.split(list(self.rows.values())), strict=True))


def targets(config: Model) -> dict[str, dict[str, int]]:
    """Return the layers of a block that can be adapted, with the targets in each layer and the
    number of rows of each target.
    """
    size = config.n_embd // config.n_head
    shared = config.n_kv_head * size
    hidden = config.mlp_hidden
    gated = {"gate": hidden} if config.mlp == "swiglu" else {}
    return {
        "attention.qkv": {"query": config.n_embd, "key": shared, "value": shared},
        "attention.out": {"out": config.n_embd},
        "mlp.up": {**gated, "up": hidden},
        "mlp.down": {"down": config.n_embd},
    }


def refuse_unknown(settings: Adapter, config: Model, named_in: str = "adapter") -> None:
    """Raise `UserError` for a target that this shape does not have."""
    known = [target for rows in targets(config).values() for target in rows]
    strange = next((each for each in settings.targets if each not in known), None)
    if settings.targets != "all" and strange is not None:
        raise UserError(
            f"{named_in}.targets: {strange} names nothing in this model; it has "
            f"{', '.join(known)}, or all of them"
        )


def add(model: AnyModel, settings: Adapter) -> None:
    """Freeze a model except for a new head, and put adapters on the targets of its blocks.

    The logits do not change until the first training step. Raises `UserError` for a target that
    this shape does not have.
    """
    refuse_unknown(settings, model.config)
    layers = targets(model.config)
    body = model if isinstance(model, Transformer) else model.body
    body.requires_grad_(False)
    for block in body.blocks:
        for name, rows in layers.items():
            layer = block.get_submodule(name)
            assert isinstance(layer, nn.Linear), "one adapter is merged before another is added"
            adapted = AdaptedLinear(layer, rows, settings)
            if adapted.adapters:
                block.set_submodule(name, adapted.to(adapted.weight.device).train(model.training))


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trained parameters by name: the adapters, and a new head if there is one."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def state(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of an adapted model to store: copies of the trained ones, on the CPU."""
    return {name: p.detach().cpu().clone() for name, p in trainable(model).items()}


def merge(model: nn.Module) -> None:
    """Turn an adapted model into a plain one in place; its logits change only by rounding."""
    for name, module in list(model.named_modules()):
        if isinstance(module, AdaptedLinear):
            model.set_submodule(name, module.merged().train(module.training))


def taken(model: nn.Module, settings: Adapter | None, foundation: Path) -> StoredAdapter | None:
    """Merge a trained model and return its adapter. Without settings, do nothing, return None."""
    if settings is None:
        return None
    learnt = state(model)
    merge(model)
    return StoredAdapter(settings, learnt, foundation)


def restore(model: AnyModel, stored: StoredAdapter) -> None:
    """Put a stored adapter on its foundation, with the head that was trained with it."""
    add(model, stored.settings)
    wanted = trainable(model)
    assert wanted.keys() == stored.tensors.keys(), "of this shape"
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(stored.tensors[name])
