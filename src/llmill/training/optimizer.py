"""Optimizers: AdamW with weight decay on matrices only, or Muon (Jordan 2024) for the matrices of
the blocks and AdamW for the rest. Adapters use AdamW: orthogonalizing the update of one factor does
not orthogonalize the update of their product.

Each group stores its peak learning rate; the loop sets `lr = peak * factor`.
"""

from torch import nn
from torch.optim import AdamW
from torch.optim import Optimizer as TorchOptimizer

from llmill.model.lora import ADAPTERS
from llmill.training.muon import Muon
from llmill.training.settings import Optimizer

PEAK = "peak_lr"

Optimizers = list[TorchOptimizer]


def build(model: nn.Module, settings: Optimizer) -> Optimizers:
    """Return one or two optimizers over the trainable parameters, each of which is in exactly one
    group.
    """
    parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = [p for name, p in parameters if _for_muon(name, p)]
    rest = [p for name, p in parameters if not _for_muon(name, p)]
    if settings.kind == "muon" and matrices:
        muon = Muon(matrices, lr=settings.muon_lr, weight_decay=settings.weight_decay)
        optimizers: Optimizers = [muon, _adamw(rest, settings)]
    else:
        optimizers = [_adamw(matrices + rest, settings)]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group[PEAK] = group["lr"]
    return optimizers


def set_rate(optimizers: Optimizers, factor: float) -> None:
    """Set every group's learning rate to this multiple of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group[PEAK] * factor


def _for_muon(name: str, parameter: nn.Parameter) -> bool:
    return parameter.dim() == 2 and "blocks." in name and ADAPTERS not in name.split(".")


def _adamw(parameters: list[nn.Parameter], settings: Optimizer) -> AdamW:
    decayed = [p for p in parameters if p.dim() >= 2]
    plain = [p for p in parameters if p.dim() < 2]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    first, second = settings.betas
    return AdamW(
        [g for g in groups if g["params"]],
        lr=settings.lr,
        betas=(first, second),
        fused=True,
    )
