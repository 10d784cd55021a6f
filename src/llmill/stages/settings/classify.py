"""Parameters of stage `classify`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from llmill.contract.values import Positive, Section, Seed, Threads
from llmill.model.settings import LearntAdapter
from llmill.training.settings import Training


class Variants(Section):
    """Switches of the stage's variants."""

    last_layer: bool
    last_block: bool
    last_two_blocks: bool
    lora: bool
    all: bool
    all_from_random: bool


class Classify(Section):
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=100)]
    threads: Threads
    max_length: Annotated[
        int, Field(ge=2, le=2**24)
    ]  # in tokens: <|endoftext|> and the last tokens of a message
    reads: Literal["auto", "last", "first", "mean"]  # the token whose state the head reads
    causal: bool  # false: each token sees the whole message, also if pretraining was causal
    class_weights: Literal["none", "balanced"]
    features_mib: Annotated[int, Field(ge=0, le=2**30)]  # for frozen features; 0: none
    sizes: Annotated[list[Positive], Field(max_length=100)]  # training sizes of a learning curve
    training: Training
    adapter: LearntAdapter  # for variant lora

    @model_validator(mode="after")
    def each_once(self) -> Self:
        for name, values in (("seeds", self.seeds), ("sizes", self.sizes)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} {values}: each one once")
        return self
