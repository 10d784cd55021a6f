"""What a stage that computes with torch runs on; `runtime.py` has what follows from it."""

from typing import Literal

from llmill.contract.values import Dtype, Section


class Runtime(Section):
    device: Literal["auto", "cpu", "cuda"]
    dtype: Literal["auto", Dtype]
