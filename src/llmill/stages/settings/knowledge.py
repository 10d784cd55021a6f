"""Parameters of stage `knowledge`."""

from llmill.contract.values import BatchSize, Confidence, Positive, Section, Seed, Threads


class Knowledge(Section):
    seed: Seed
    threads: Threads
    max_questions: Positive | None  # per subject; null: all
    batch_size: BatchSize
    confidence: Confidence
