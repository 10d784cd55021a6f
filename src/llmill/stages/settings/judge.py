"""What stage `judge` is told."""

from typing import Annotated, Literal

from pydantic import Field

from llmill.contract.values import Confidence, Resamples, Section, Seed, Threads
from llmill.evaluation.judging.settings import JudgeServer

Probability = Annotated[float, Field(ge=0, le=1)]
Points = Annotated[float, Field(ge=0, le=100)]


class Bar(Section):
    """What an embedded judge must reach before its mean is shown."""

    auc: Probability  # right answers above others, in pairs, of the model that is judged
    by_kind: Probability  # the same of each kind of instruction, by the upper end of its interval
    above_another: Probability  # references above that of another task of the same kind
    unrelated: Points  # at most given to an empty answer, and to one that fits anything


class Judge(Section):
    seed: Seed
    threads: Threads
    backend: Literal["grader", "openai"]
    openai: JudgeServer
    confidence: Confidence
    bootstrap: Resamples
    bar: Bar
