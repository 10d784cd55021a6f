"""What stage `signals` is told."""

from typing import Self

from pydantic import model_validator

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

    @model_validator(mode="after")
    def a_sample_has_room_for_a_copy(self) -> Self:
        if self.sample_tokens < self.window_tokens:
            raise ValueError("sample_tokens must be at least window_tokens, to count copies")
        return self
