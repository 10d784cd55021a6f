"""Parameters of stage `mmlu`."""

from typing import Annotated

from pydantic import Field

from llmill.contract.values import BatchSize, Confidence, Dtype, Line, Positive, Section, Threads
from llmill.evaluation.multiple_choice.units import TooLong

ShotCount = Annotated[int, Field(ge=0, le=5)]


class Mmlu(Section):
    threads: Threads
    dtype: Dtype
    subjects: list[Line]  # empty: all
    shots: ShotCount  # in the letter format
    cloze_shots: ShotCount
    too_long: TooLong
    max_questions: Positive | None  # per subject; null: all
    batch_size: BatchSize
    confidence: Confidence
