"""What stage `prefer` is told."""

from llmill.contract.values import Section, Seed, Threads, Written
from llmill.training.settings import PreferenceLoss, Replay, Training


class Prefer(Section):
    seed: Seed
    threads: Threads
    loss: PreferenceLoss
    replay: Replay | None  # null: none
    training: Training
    max_new_tokens: Written  # of an answer to a test instruction
