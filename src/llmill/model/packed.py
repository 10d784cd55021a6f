"""Weights packed for matrix products on the CPU, in which generation and scoring spend their time.

Reading the weights limits the speed of a product of few rows. torch's own product reads them at a
third to a half of the speed of oneDNN's product with weights in oneDNN's order
(benchmarks/generation.py), which torch.compile uses as well. With many rows in float32, oneDNN's
product is never slower, and is more than twice as fast on AMD processors with AVX-512, which
torch's own product does not use there. For few rows in bfloat16 on x86, FBGEMM is fastest: it
stores the weights in float16, sums in float32, and does not need bfloat16 instructions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmill.model.transformer import Transformer, twin

FEW = 64  # rows; with more rows, torch's own bfloat16 product is as fast
LARGE = 32 * 2**20  # bytes of weights; fewer in float32 stay in the cache, where both are as fast
LARGEST = torch.finfo(torch.float16).max
FBGEMM = ("x86", "fbgemm")  # torch's quantized engines that use it


class PackedLinear(nn.Module):
    """Linear layer, (..., in) to (..., out), with a second copy of the weights, packed in the order
    that suits `rows` rows. It shares the weights of the original layer.
    """

    def __init__(self, linear: nn.Linear, rows: int):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), rows)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")


class HalfLinear(nn.Module):
    """Linear layer in bfloat16, (..., in) to (..., out), with a second copy of the weights, packed
    in float16. The copy is exact for weights of 2^-17 or more, else within 2^-25. The layer shares
    the weights of the original layer and rounds its output to `out`.
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
    """Return the model with packed linear layers for generation or scoring of `rows` rows at a
    time, or the model itself if it is not on the CPU, or is neither large nor in bfloat16.

    Layers without a faster product stay as they are. Weights are shared, but packed copies do not
    follow later changes of them. The logits of packed bfloat16 models are in float32.
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
    """Return the layer with the fastest product for these weights."""
    brief = linear.weight.dtype == torch.bfloat16
    if brief and torch.backends.quantized.engine in FBGEMM and linear.weight.abs().max() <= LARGEST:
        return HalfLinear(linear, torch.float32 if is_head else torch.bfloat16)
    packable = torch.backends.mkldnn.is_available() and (
        linear.weight.dtype == torch.float32 or (brief and _multiplies_bfloat16())
    )
    return PackedLinear(linear, rows) if packable else linear


def _multiplies_bfloat16() -> bool:
    """Return whether oneDNN multiplies bfloat16 natively. Builds of torch without oneDNN lack the
    operator to ask.
    """
    there = torch.backends.mkldnn.is_available()
    return bool(there and torch.ops.mkldnn._is_mkldnn_bf16_supported())
