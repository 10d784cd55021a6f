"""What stage `prefer` is told."""

from llmill.contract.values import Section, Seed, Threads, Written
from llmill.model.settings import LearntAdapter
from llmill.training.settings import PreferenceLoss, Replay, Training


class Prefer(Section):
    seed: Seed
    threads: Threads
    loss: PreferenceLoss
    replay: Replay | None  # null: none
    training: Training
    adapter: LearntAdapter | None  # learn low-rank matrices upon the assistant; null: every weight
    max_new_tokens: Written  # of an answer to a test instruction
