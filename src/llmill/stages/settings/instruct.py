"""Parameters of stage `instruct`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from llmill.contract.values import Natural, Section, Seed, Threads, Written
from llmill.model.settings import LearntAdapter
from llmill.tasks.settings import TemplateName
from llmill.training.settings import Best, Interpolation, Replay, Training


class Instruct(Section):
    seed: Seed
    threads: Threads
    template: TemplateName  # chat template; weights: that of the initial weights
    mask_prompt: bool  # loss on the responses only
    packing: Literal["none", "conversations"]  # one per row, or several, masked from each other
    two_turns: Annotated[float, Field(ge=0, le=1)]  # share of instructions joined in pairs
    neftune_alpha: Annotated[float, Field(gt=0, le=1000)] | None  # null: no noise
    replay: Replay | None  # null: none
    best: Best | None  # null: keep the last state
    interpolate: Interpolation | None  # null: keep the tuned weights
    training: Training
    adapter: LearntAdapter | None  # train low-rank matrices; null: all weights
    max_new_tokens: Written  # per answer to a test instruction
    samples: Natural  # validation instructions to answer at each validation

    @model_validator(mode="after")
    def only_whole_weights_are_interpolated(self) -> Self:
        if self.adapter is not None and self.interpolate is not None:
            raise ValueError("an adapter has no weights to interpolate; set one of the two to null")
        return self
