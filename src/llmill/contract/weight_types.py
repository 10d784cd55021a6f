"""Number types that a model's weights are had in outside of the stages, by `--dtype`."""

from typing import Literal

from llmill.contract.values import Dtype

WeightType = Literal[Dtype, "int8"]
