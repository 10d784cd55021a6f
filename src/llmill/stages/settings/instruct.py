"""What stage `instruct` is told."""

from llmill.contract.values import Section, Seed, Threads, Written
from llmill.model.settings import Adapter
from llmill.tasks.settings import TemplateName
from llmill.training.settings import Best, Interpolation, Replay, Training


class Instruct(Section):
    seed: Seed
    threads: Threads
    template: TemplateName  # how messages are put; weights: as they came with a template
    mask_prompt: bool  # loss on the responses only
    replay: Replay | None  # null: none
    best: Best | None  # null: the last state is kept
    interpolate: Interpolation | None  # null: the tuned weights as they are
    training: Training
    adapter: Adapter | None  # learn low-rank matrices; null: every weight
    max_new_tokens: Written  # of an answer to a test instruction
