"""Weights in eight bits, for a model that writes on the CPU.

A step is as fast as its weights are read, and these are a quarter of float32's. A row of weights
has one scale. So has a row of what comes in, which is rounded as it comes, and FBGEMM multiplies
whole numbers. A row's result does not depend on the rows beside it, as it would with torch's
`linear_dynamic`, which has one scale for all of them.

FBGEMM takes seven bits of what comes in: without VNNI's instructions it adds products in pairs of
16 bits, which eight would overflow. Seven are too few for what a model knows, so a second row
carries what the first rounding left over. The weights are read once for both.
"""

import warnings
from typing import Self

import torch
from torch import Tensor, nn

from llmill.contract.errors import UserError
from llmill.model.packed import FBGEMM
from llmill.model.quick_rotary import replace_rotary
from llmill.model.transformer import Transformer, twin

WEIGHT = 127  # the largest whole number that stands for a weight
INPUT = 63  # the largest that stands for a number that comes in; it is held without a sign,
ZERO = 64  # above this one
FINER = 126  # times as fine are the steps of the second row: half a step is its largest number
SMALLEST = 1e-30  # that is divided by: a row of zeros stays one


class Int8Linear(nn.Module):
    """The product of a linear layer, with its weights in eight bits: (..., in) to (..., out), in
    float32. Of the layer's own numbers it keeps the bias alone.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.bias = linear.bias
        self._packed = _packed(linear.weight.detach().float())
        # A step calls it a hundred times: what is looked up once is not looked up again.
        self._product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32.default

    @property
    def weight(self) -> Tensor:
        """The weights as they are multiplied by, (out, in), made anew each time."""
        weight: Tensor = torch.ops.quantized.linear_unpack(self._packed)[0].dequantize()
        return weight

    def forward(self, x: Tensor) -> Tensor:
        step = x.abs().amax(dim=-1, keepdim=True).clamp(min=SMALLEST) / INPUT  # (..., 1)
        steps = x / step
        whole = steps.round()
        rows = torch.cat((whole, (steps - whole) * FINER))
        first, second = self._product(rows, 1.0, ZERO, self._packed).chunk(2)
        y = torch.add(first, second, alpha=1 / FINER)
        return y * step if self.bias is None else torch.addcmul(self.bias, y, step)

    def __deepcopy__(self, memo: object) -> Self:
        """The very same: nothing in it changes, so two models may have it."""
        return self


def in_int8(model: Transformer) -> Transformer:
    """The model with its matrices and its head in eight bits; embedding, norms and biases are the
    very same. Raises `UserError` where that cannot be computed.
    """
    if torch.backends.quantized.engine not in FBGEMM:
        raise UserError(
            f"int8: this build of torch has no FBGEMM ({torch.backends.quantized.engine} is its "
            "engine), which multiplies in eight bits; take float32 or bfloat16"
        )
    smaller = twin(model)
    for name, module in list(smaller.named_modules()):
        if isinstance(module, nn.Linear):
            _refuse_elsewhere(f"{name}.weight", module.weight.data)
            smaller.set_submodule(name, Int8Linear(module))
    replace_rotary(smaller)
    return smaller


def _packed(weight: Tensor) -> torch.ScriptObject:
    """Weights, (out, in), as whole numbers times their row's scale, in FBGEMM's order."""
    scale = weight.abs().amax(dim=1).clamp(min=SMALLEST) / WEIGHT  # (out,)
    whole = (weight / scale[:, None]).round().to(torch.int8)
    zero = torch.zeros(len(scale), dtype=torch.long)
    with warnings.catch_warnings():  # torch will not keep such tensors for ever
        warnings.simplefilter("ignore", UserWarning)
        scaled = torch._make_per_channel_quantized_tensor(whole, scale.double(), zero, 0)
    packed: torch.ScriptObject = torch.ops.quantized.linear_prepack(scaled, None)
    return packed


def _refuse_elsewhere(name: str, weight: Tensor) -> None:
    if type(weight) is not Tensor or weight.device.type != "cpu":
        where = "several processes" if weight.device.type == "cpu" else weight.device
        raise UserError(f"int8: {name} lies on {where}; eight bits are for one CPU alone")
