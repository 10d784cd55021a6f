"""Parameters of stage `judge`."""

from typing import Annotated, Literal

from pydantic import Field

from llmill.contract.values import Confidence, Resamples, Section, Seed, Threads
from llmill.evaluation.judging.settings import JudgeServer

Probability = Annotated[float, Field(ge=0, le=1)]
Points = Annotated[float, Field(ge=0, le=100)]


class Bar(Section):
    """The limits that an embedded judge must meet; otherwise its mean score is not shown."""

    auc: Probability  # least share of pairs of a right and another answer in the right order
    by_kind: Probability  # the same per kind of instruction, for the interval's upper end
    above_another: Probability  # least share of references above another task's of the same kind
    unrelated: Points  # largest mean score of an empty answer, and of one that fits anything


class Judge(Section):
    seed: Seed
    threads: Threads
    backend: Literal["grader", "openai"]
    openai: JudgeServer
    confidence: Confidence
    bootstrap: Resamples
    bar: Bar
