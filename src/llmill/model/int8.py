"""Eight-bit weights for a model that generates text on the CPU.

Reading the weights limits the speed of a step, and these weights take a quarter of the bytes of
float32. Each row of weights has one scale. Each row of the input also has one; it is rounded when
it arrives, and FBGEMM multiplies integers. A row's result does not depend on the other rows, as it
would with torch's `linear_dynamic`, which has one scale for all of them.

FBGEMM uses seven bits of the input: without VNNI instructions it adds products in pairs of 16 bits,
which eight bits would overflow. Seven bits lose too much of what a model knows, so a second row
holds the rest that the first rounding left over. The weights are read once for both rows.
"""

import warnings
from typing import Self

import torch
from torch import Tensor, nn

from llmill.contract.errors import UserError
from llmill.model.packed import FBGEMM
from llmill.model.quick_rotary import replace_rotary
from llmill.model.transformer import Transformer, twin

WEIGHT = 127  # largest integer of a weight
INPUT = 63  # largest integer of an input
ZERO = 64  # zero point of an input, which is stored unsigned
FINER = 126  # the second row's steps are this many times finer: its largest number is half a step
SMALLEST = 1e-30  # smallest divisor, so that a row of zeros stays zero


class Int8Linear(nn.Module):
    """Linear layer with eight-bit weights, (..., in) to (..., out), in float32. Of the original
    layer it keeps only the bias.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.bias = linear.bias
        self._packed = _packed(linear.weight.detach().float())
        # Looked up once, because a step calls it a hundred times.
        self._product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32.default

    @property
    def weight(self) -> Tensor:
        """The dequantised weights, (out, in), computed anew at each access."""
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
        """Return this very layer: nothing in it changes, so two models can share it."""
        return self


def in_int8(model: Transformer) -> Transformer:
    """Return a copy of the model with its linear layers, head included, in eight bits. Embedding,
    norms and biases are shared. Raises `UserError` where torch cannot compute this.
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
    """Quantise weights, (out, in), to integers times a scale per row, packed in FBGEMM's order."""
    scale = weight.abs().amax(dim=1).clamp(min=SMALLEST) / WEIGHT  # (out,)
    whole = (weight / scale[:, None]).round().to(torch.int8)
    zero = torch.zeros(len(scale), dtype=torch.long)
    with warnings.catch_warnings():  # torch warns that it will drop quantised tensors
        warnings.simplefilter("ignore", UserWarning)
        scaled = torch._make_per_channel_quantized_tensor(whole, scale.double(), zero, 0)
    packed: torch.ScriptObject = torch.ops.quantized.linear_prepack(scaled, None)
    return packed


def _refuse_elsewhere(name: str, weight: Tensor) -> None:
    if type(weight) is not Tensor or weight.device.type != "cpu":
        where = "several processes" if weight.device.type == "cpu" else weight.device
        raise UserError(f"int8: {name} lies on {where}; eight bits are for one CPU alone")
