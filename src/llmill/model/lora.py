"""Low-rank adapters (Hu et al. 2021): a frozen matrix W of the blocks becomes W + scale * B A, of
which only A, (rank, in), and B, (out, rank), are learnt. With `dora` (Liu et al. 2024) the rows of
that sum are scaled to lengths that are learnt, too.

Query, key and value are one matrix of ours, and so are gate and up; each is a target with an A and
a B of its own, as in models that hold them apart. The head of the next token is no target. A head
of classes or scores is new, and learnt whole beside the adapters.

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

ADAPTERS = "adapters"  # in the name of each of their parameters
SHORTEST = 1e-12  # row that is divided by: one of zeros stays as it is


@dataclass(frozen=True)
class Stored:
    """An adapter apart from its foundation: how it was added, what was learnt, by name, and the
    folder of the checkpoint that it belongs to.
    """

    settings: Adapter
    tensors: dict[str, Tensor]
    foundation: Path


class LowRank(nn.Module):
    """The change of one target, whose frozen rows are `weight`, (out, in): what is added to what
    they make of an input, (B, T, in) to (B, T, out). It begins as none, for B is zero.
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
        """The rows changed, (out, in)."""
        changed = weight + self._product()
        if self.magnitude is None:
            return changed
        return self._ratio(weight, self.magnitude)[:, None] * changed

    def _product(self) -> Tensor:
        return self.b @ self.a * self.scale

    def _ratio(self, weight: Tensor, magnitude: Tensor) -> Tensor:
        """The learnt length of each row over the one that it has, which counts as a constant (4.3
        of the paper): (out,).
        """
        with torch.no_grad():
            lengths = torch.linalg.norm(weight + self._product(), dim=1)
        return magnitude / lengths.clamp(min=SHORTEST)


class AdaptedLinear(nn.Module):
    """A frozen linear layer, some of whose targets have a low-rank change. It shares the weights
    of the layer that it stands for.
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
        """A plain layer that computes the same; the shared weights stay as they are."""
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
        """The rows of each target, (out, in)."""
        return dict(zip(self.rows, self.weight.split(list(self.rows.values())), strict=True))


def targets(config: Model) -> dict[str, dict[str, int]]:
    """The layers of a block that can be adapted: the targets in each, and the rows of each."""
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
    """Raises `UserError` for a target that this shape does not have."""
    known = [target for rows in targets(config).values() for target in rows]
    strange = next((each for each in settings.targets if each not in known), None)
    if settings.targets != "all" and strange is not None:
        raise UserError(
            f"{named_in}.targets: {strange} names nothing in this model; it has "
            f"{', '.join(known)}, or all of them"
        )


def add(model: AnyModel, settings: Adapter) -> None:
    """Freeze a model but for a new head, and put adapters on the targets of its blocks.

    Its logits stay as they are until a step is taken. Raises `UserError` for a target that this
    shape does not have.
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
    """What is learnt, by name: the adapters, and a new head."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def state(model: nn.Module) -> dict[str, Tensor]:
    """What of an adapted model is stored: the learnt tensors, on the CPU."""
    return {name: p.detach().cpu().clone() for name, p in trainable(model).items()}


def merge(model: nn.Module) -> None:
    """Make a plain model of an adapted one, of the same logits but for rounding."""
    for name, module in list(model.named_modules()):
        if isinstance(module, AdaptedLinear):
            model.set_submodule(name, module.merged().train(module.training))


def taken(model: nn.Module, settings: Adapter | None, foundation: Path) -> Stored | None:
    """Merge a trained model, and return what of it is stored; without settings none of both."""
    if settings is None:
        return None
    learnt = state(model)
    merge(model)
    return Stored(settings, learnt, foundation)


def restore(model: AnyModel, stored: Stored) -> None:
    """Put a stored adapter on its foundation, with the head that was learnt beside it."""
    add(model, stored.settings)
    wanted = trainable(model)
    assert wanted.keys() == stored.tensors.keys(), "of this shape"
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(stored.tensors[name])
