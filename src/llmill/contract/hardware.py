"""The hardware settings of a stage that computes with torch; `runtime.py` applies them."""

from typing import Literal

from llmill.contract.values import Dtype, Section


class Runtime(Section):
    device: Literal["auto", "cpu", "cuda"]
    dtype: Literal["auto", Dtype]
