"""Types and ranges of single values in `params.yaml` or of options, and the base class of a
section.

An upper end is far above any real use and below values that fill a machine or never end, so a
typing mistake is refused before anything runs.
"""

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

LEAST_TEMPERATURE = 1e-4  # below it float32 leaves nothing to draw from
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
MOST_COLUMNS = 10_000  # in a table
NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"  # of an environment variable


def _drawable(temperature: float) -> float:
    if 0 < temperature < LEAST_TEMPERATURE:
        raise ValueError(f"0 (always the likeliest token), or {LEAST_TEMPERATURE} or more")
    return temperature


def _without_control(text: str, allowed: str = "") -> str:
    wrong = next((c for c in CONTROL.findall(text) if c not in allowed), None)
    if wrong:
        raise ValueError(f"the control character {wrong!a} is no text")
    return text


def _prompt(text: str) -> str:
    return _without_control(text, "\n\t")


def _column(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("a column is its name, or its number from 1")
    if isinstance(value, int) and not 1 <= value <= MOST_COLUMNS:
        raise ValueError(f"columns are counted from 1 to {MOST_COLUMNS}")
    return value if isinstance(value, int) else _without_control(value, "\r\n\t")


def _several(value: Any) -> Any:
    if value == []:
        raise ValueError("one column at least")
    return value if isinstance(value, list) else [value]


def _address(url: str) -> str:
    parts = urlsplit(url)
    plain = parts.scheme in ("http", "https") and parts.hostname and not re.search(r"[\s?#]", url)
    if not plain or parts.port == 0:  # `port` raises if it is invalid
        raise ValueError("an http:// or https:// address, without ? and #, such as http://host/v1")
    return url


Positive = Annotated[int, Field(ge=1, le=10**9)]
Natural = Annotated[int, Field(ge=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # scikit-learn accepts no larger seed
Threads = Annotated[int, Field(ge=1, le=512)]
Processes = Annotated[int, Field(ge=1, le=4096)]
BatchSize = Annotated[int, Field(ge=1, le=2**20)]
Context = Annotated[int, Field(ge=1, le=2**24)]  # tokens that a model reads at once
Written = Annotated[int, Field(ge=1, le=100_000)]  # tokens of a continuation
Words = Annotated[int, Field(ge=1, le=10_000)]
Resamples = Annotated[int, Field(ge=1, le=10**6)]
Retries = Annotated[int, Field(ge=0, le=1000)]
Few = Annotated[int, Field(ge=1, le=1000)]

Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0)]
LearningRate = Annotated[float, Field(gt=0, le=1000)]
Confidence = Annotated[float, Field(gt=0, le=0.9999)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Temperature = Annotated[float, Field(ge=0, le=100), AfterValidator(_drawable)]

Dtype = Literal["float32", "bfloat16"]
GgufNumbers = Literal["float16", "bfloat16", "q8_0"]  # of the matrices in a GGUF file
Line = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_without_control)]
Title = Annotated[str, Field(min_length=1, max_length=250), AfterValidator(_without_control)]
Prompt = Annotated[str, AfterValidator(_prompt)]
Column = Annotated[str | int, BeforeValidator(_column)]
Columns = Annotated[list[Column], BeforeValidator(_several)]  # a single one needs no [ ]
Names = Annotated[list[Line], BeforeValidator(_several)]  # of columns; a single one needs no [ ]
Address = Annotated[Line, AfterValidator(_address)]
Variable = Annotated[str, Field(pattern=NAME, max_length=100)]


class Section(BaseModel):
    """A strict, frozen part of the tree of parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
