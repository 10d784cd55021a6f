"""Parameters of stage `signals`."""

from typing import Self

from pydantic import model_validator

from llmill.contract.values import (
    BatchSize,
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
    batch_size: BatchSize
    documents: Positive  # most held-out documents
    windows: Positive  # most windows of the training text, and of held-out text
    window_tokens: Positive  # tokens of a window's prompt, and of its expected continuation
    samples: Positive  # texts that the model generates
    sample_tokens: Written  # most tokens per sample; the context is another limit
    pairs: Positive  # most minimal pairs per phenomenon
    confidence: Confidence
    bootstrap: Resamples

    @model_validator(mode="after")
    def a_sample_has_room_for_a_copy(self) -> Self:
        if self.sample_tokens < self.window_tokens:
            raise ValueError("sample_tokens must be at least window_tokens, to count copies")
        return self
