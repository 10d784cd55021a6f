"""Parameters of stage `prefer`."""

from typing import Annotated

from pydantic import Field

from llmill.contract.values import Section, Seed, Threads, Written
from llmill.model.settings import LearntAdapter
from llmill.training.settings import PreferenceLoss, Replay, Training


class Prefer(Section):
    seed: Seed
    threads: Threads
    loss: PreferenceLoss
    chosen_weight: Annotated[float, Field(ge=0, le=1000)]  # of the chosen answer's own loss
    replay: Replay | None  # null: none
    training: Training
    adapter: LearntAdapter | None  # train low-rank matrices on the assistant; null: all weights
    max_new_tokens: Written  # per answer to a test instruction
