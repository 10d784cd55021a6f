"""What stage `classify` is told."""

from typing import Annotated, Literal

from pydantic import Field

from llmill.contract.values import Section, Seed, Threads
from llmill.model.settings import Adapter
from llmill.training.settings import Training


class Classify(Section):
    seed: Seed
    threads: Threads
    max_length: Annotated[
        int, Field(ge=2, le=2**24)
    ]  # <|endoftext|> and the last tokens of a message
    class_weights: Literal["none", "balanced"]
    training: Training
    adapter: Adapter  # of variant lora
