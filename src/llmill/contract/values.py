"""What a single value in `params.yaml`, or of an option, may be."""

from typing import Annotated, Literal

from pydantic import Field

Positive = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0)]
Threads = Annotated[int, Field(ge=1, le=512)]
Dtype = Literal["float32", "bfloat16"]
