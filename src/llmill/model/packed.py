"""Weights packed for products of few rows on the CPU, which generation is made of.

Such a product is as fast as its weights are read. torch's own reads them at a third to a half of
the speed of oneDNN's with weights in its own order (benchmarks/generation.py), which torch.compile
uses as well.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmill.model.transformer import Transformer

FEW = 64  # rows; with more, torch's own product is as fast
LARGE = 32 * 2**20  # bytes of weights; fewer stay in the processor's cache, where either is as fast


class PackedLinear(nn.Module):
    """The product of a linear layer, whose weights it shares and holds once more, packed in the
    order that suits `rows` rows.
    """

    def __init__(self, linear: nn.Linear, rows: int):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), rows)

    def forward(self, x: Tensor) -> Tensor:
        if x.numel() // x.size(-1) > FEW:
            return F.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")


def packed(model: Transformer, rows: int) -> Transformer:
    """The model for generation, `rows` texts at a time: large on the CPU with packed products,
    else the very same. Weights are shared; a later change of them does not show in the packed ones.
    """
    weights = [*model.parameters(), *model.buffers()]
    kinds = {torch.float32}
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        kinds.add(torch.bfloat16)
    plain = all(type(w.data) is Tensor and w.device.type == "cpu" for w in weights)
    large = sum(w.numel() * w.element_size() for w in weights) >= LARGE
    if not (plain and large and torch.backends.mkldnn.is_available()):
        return model
    twin = copy.deepcopy(model, {id(weight): weight for weight in weights})
    for name, module in list(twin.named_modules()):
        if isinstance(module, nn.Linear) and module.weight.dtype in kinds:
            twin.set_submodule(name, PackedLinear(module, rows))
    return twin
