"""What stage `signals` is told."""

from llmill.contract.values import (
    Batch,
    Confidence,
    Positive,
    Resamples,
    Section,
    Seed,
    Threads,
    Written,
)


class Signals(Section):
    seed: Seed
    threads: Threads
    batch_size: Batch
    documents: Positive  # held-out ones at most
    windows: Positive  # of the training text, and of held-out text, at most
    window_tokens: Positive  # shown of a window, and expected behind that
    samples: Positive  # texts that the model writes
    sample_tokens: Written  # of one, at most, and at most what the context holds
    pairs: Positive  # minimal pairs of each phenomenon, at most
    confidence: Confidence
    bootstrap: Resamples
