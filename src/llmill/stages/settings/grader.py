"""Parameters of stage `grader`."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from llmill.contract.values import Few, Section, Seed, Threads
from llmill.model.settings import LearntAdapter
from llmill.training.settings import Training

LAST_SEED = 2**32 - 1


class Grader(Section):
    seed: Seed
    seeds: Annotated[int, Field(ge=1, le=100)]  # number of trainings, from `seed` on
    threads: Threads
    responses: Few  # graded responses made from each training reference
    training: Training
    adapter: LearntAdapter | None  # train low-rank matrices; null: all weights

    @model_validator(mode="after")
    def seeds_that_there_are(self) -> Self:
        if self.seed + self.seeds - 1 > LAST_SEED:
            raise ValueError(f"{self.seeds} seeds from {self.seed} on end above {LAST_SEED}")
        return self
