"""What stage `mmlu` is told."""

from typing import Annotated

from pydantic import Field

from llmill.contract.values import Batch, Confidence, Line, Positive, Section, Threads


class Mmlu(Section):
    threads: Threads
    subjects: list[Line]  # empty: all
    shots: Annotated[int, Field(ge=0, le=5)]
    max_questions: Positive | None  # per subject; null: all
    batch_size: Batch
    confidence: Confidence
