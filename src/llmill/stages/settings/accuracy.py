"""Parameters of stage `accuracy`."""

from llmill.contract.values import Confidence, Resamples, Section, Seed, Threads


class Accuracy(Section):
    seed: Seed
    threads: Threads
    confidence: Confidence
    bootstrap: Resamples
