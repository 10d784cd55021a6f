"""What stage `accuracy` is told."""

from llmill.contract.values import Confidence, Resamples, Section, Seed, Threads


class Accuracy(Section):
    seed: Seed
    threads: Threads
    confidence: Confidence
    bootstrap: Resamples
