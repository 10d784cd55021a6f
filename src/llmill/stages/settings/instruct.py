"""What stage `instruct` is told."""

from llmill.contract.values import Section, Seed, Threads, Written
from llmill.training.settings import Training


class Instruct(Section):
    seed: Seed
    threads: Threads
    mask_prompt: bool  # loss on the response only
    training: Training
    max_new_tokens: Written  # of an answer to a test instruction
