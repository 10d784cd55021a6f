"""What stage `instruct` is told."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from llmill.contract.values import Natural, Section, Seed, Threads, Written
from llmill.model.settings import LearntAdapter
from llmill.tasks.settings import TemplateName
from llmill.training.settings import Best, Interpolation, Replay, Training


class Instruct(Section):
    seed: Seed
    threads: Threads
    template: TemplateName  # how messages are put; weights: as they came with a template
    mask_prompt: bool  # loss on the responses only
    packing: Literal["none", "conversations"]  # one to a row, or several that do not see each other
    neftune_alpha: Annotated[float, Field(gt=0, le=1000)] | None  # null: no noise
    replay: Replay | None  # null: none
    best: Best | None  # null: the last state is kept
    interpolate: Interpolation | None  # null: the tuned weights as they are
    training: Training
    adapter: LearntAdapter | None  # learn low-rank matrices; null: every weight
    max_new_tokens: Written  # of an answer to a test instruction
    samples: Natural  # validation instructions that are answered at each validation

    @model_validator(mode="after")
    def only_whole_weights_are_interpolated(self) -> Self:
        if self.adapter is not None and self.interpolate is not None:
            raise ValueError("an adapter has no weights to interpolate; set one of the two to null")
        return self
