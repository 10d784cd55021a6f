"""What stage `prefer` is told."""

from typing import Annotated

from pydantic import Field

from llmill.contract.values import Section, Seed, Threads, Written
from llmill.model.settings import LearntAdapter
from llmill.training.settings import PreferenceLoss, Replay, Training


class Prefer(Section):
    seed: Seed
    threads: Threads
    loss: PreferenceLoss
    chosen_weight: Annotated[float, Field(ge=0, le=1000)]  # weight of the chosen answer's own loss
    replay: Replay | None  # null: none
    training: Training
    adapter: LearntAdapter | None  # learn low-rank matrices upon the assistant; null: every weight
    max_new_tokens: Written  # of an answer to a test instruction
