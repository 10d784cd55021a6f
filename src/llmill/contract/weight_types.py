"""Number types for a model's weights outside of the stages, chosen with `--dtype`."""

from typing import Literal

from llmill.contract.values import Dtype

WeightType = Literal[Dtype, "int8"]
