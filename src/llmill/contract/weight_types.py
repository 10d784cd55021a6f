"""Number types that a model's weights are had in outside of the stages, by `--dtype`."""

from typing import Literal

WeightType = Literal["float32", "bfloat16", "int8"]
