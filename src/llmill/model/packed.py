"""Weights packed for products on the CPU, which generation and scoring are made of.

A product of few rows is as fast as its weights are read. torch's own reads them at a third to a
half of the speed of oneDNN's with weights in its own order (benchmarks/generation.py), which
torch.compile uses as well. With many rows, in float32, that is never slower, and more than twice as
fast on AMD's processors with AVX-512, which torch's own does not use there. Few rows of weights in
bfloat16 are read fastest by FBGEMM, on x86: it has them in float16 and sums in float32, and needs
no instructions for bfloat16.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmill.model.transformer import Transformer, twin

FEW = 64  # rows; with more, torch's own product in bfloat16 is as fast
LARGE = 32 * 2**20  # bytes of weights; float32 of fewer stays in the cache, where either is as fast
LARGEST = torch.finfo(torch.float16).max
FBGEMM = ("x86", "fbgemm")  # torch's engines that have it


class PackedLinear(nn.Module):
    """The product of a linear layer, whose weights it shares and holds once more, packed in the
    order that suits `rows` rows.
    """

    def __init__(self, linear: nn.Linear, rows: int):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), rows)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")


class HalfLinear(nn.Module):
    """The product of a linear layer in bfloat16, whose weights it shares and holds once more,
    packed in float16: exactly, where they are 2^-17 or more, else to within 2^-25. The product is
    rounded to `out`.
    """

    def __init__(self, linear: nn.Linear, out: torch.dtype):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self._out, self._native = out, _multiplies_bfloat16()
        bias = None if self.bias is None else self.bias.detach().float()
        self._packed = torch.ops.quantized.linear_prepack_fp16(self.weight.detach().float(), bias)

    def forward(self, x: Tensor) -> Tensor:
        if self._native and x.numel() // x.size(-1) > FEW:
            return F.linear(x, self.weight, self.bias).to(self._out)
        return torch.ops.quantized.linear_dynamic_fp16(x.float(), self._packed).to(self._out)


def packed(model: Transformer, rows: int) -> Transformer:
    """The model for generation or scoring, so many rows at a time: on the CPU, large or in
    bfloat16, with packed products as far as there are faster ones, else the very same. Weights are
    shared; a later change of them does not show in the packed ones. Logits of packed bfloat16 are
    in float32.
    """
    weights = [*model.parameters(), *model.buffers()]
    plain = all(type(w.data) is Tensor and w.device.type == "cpu" for w in weights)
    large = sum(w.numel() * w.element_size() for w in weights) >= LARGE
    if not (plain and (large or model.head.weight.dtype == torch.bfloat16)):
        return model
    faster = twin(model)
    for name, module in list(faster.named_modules()):
        if isinstance(module, nn.Linear):
            faster.set_submodule(name, _fastest(module, rows, is_head=name == "head"))
    return faster


def _fastest(linear: nn.Linear, rows: int, is_head: bool) -> nn.Module:
    """The fastest product with these weights."""
    brief = linear.weight.dtype == torch.bfloat16
    if brief and torch.backends.quantized.engine in FBGEMM and linear.weight.abs().max() <= LARGEST:
        return HalfLinear(linear, torch.float32 if is_head else torch.bfloat16)
    packable = torch.backends.mkldnn.is_available() and (
        linear.weight.dtype == torch.float32 or (brief and _multiplies_bfloat16())
    )
    return PackedLinear(linear, rows) if packable else linear


def _multiplies_bfloat16() -> bool:
    """Whether oneDNN does by itself; builds of torch without it lack even the question."""
    there = torch.backends.mkldnn.is_available()
    return bool(there and torch.ops.mkldnn._is_mkldnn_bf16_supported())
