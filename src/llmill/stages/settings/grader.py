"""What stage `grader` is told."""

from llmill.contract.values import Few, Section, Seed, Threads
from llmill.model.settings import LearntAdapter
from llmill.training.settings import Training


class Grader(Section):
    seed: Seed
    threads: Threads
    responses: Few  # graded responses made from each training reference
    training: Training
    adapter: LearntAdapter | None  # learn low-rank matrices; null: every weight
