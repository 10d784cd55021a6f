"""What stage `judge` is told."""

from typing import Literal

from llmill.contract.values import Confidence, Resamples, Section, Seed, Threads
from llmill.evaluation.settings import JudgeServer


class Judge(Section):
    seed: Seed
    threads: Threads
    backend: Literal["grader", "openai"]
    openai: JudgeServer
    confidence: Confidence
    bootstrap: Resamples
