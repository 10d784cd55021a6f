"""The whole tree of `params.yaml`, assembled from the sections that stages own. `cross_checks.py`
has the checks between sections.
"""

from typing import Self

from pydantic import model_validator

from llmill.contract.hardware import Runtime
from llmill.contract.values import Section, Title
from llmill.model.settings import Shape
from llmill.runner import cross_checks
from llmill.stages.settings.accuracy import Accuracy
from llmill.stages.settings.classify import Classify, Variants
from llmill.stages.settings.contamination import Contamination
from llmill.stages.settings.download import Download
from llmill.stages.settings.export import Export
from llmill.stages.settings.grader import Grader
from llmill.stages.settings.instruct import Instruct
from llmill.stages.settings.judge import Judge
from llmill.stages.settings.knowledge import Knowledge
from llmill.stages.settings.mmlu import Mmlu
from llmill.stages.settings.paths import Paths
from llmill.stages.settings.prefer import Prefer
from llmill.stages.settings.prepare import Prepare
from llmill.stages.settings.pretrain import Pretrain
from llmill.stages.settings.report import Report
from llmill.stages.settings.signals import Signals
from llmill.stages.settings.tokenize import Tokenize
from llmill.stages.settings.tokenizer import TokenizerSection


class Params(Section):
    """The whole tree. `name` is the MLflow experiment and not a parameter of any stage."""

    name: Title
    paths: Paths
    runtime: Runtime
    download: Download
    prepare: Prepare
    tokenizer: TokenizerSection
    tokenize: Tokenize
    model: Shape
    pretrain: Pretrain
    classify: Classify
    variants: Variants
    instruct: Instruct
    prefer: Prefer
    grader: Grader
    accuracy: Accuracy
    mmlu: Mmlu
    knowledge: Knowledge
    signals: Signals
    judge: Judge
    contamination: Contamination
    export: Export
    report: Report

    @model_validator(mode="after")
    def sections_agree(self) -> Self:
        cross_checks.check(self)
        return self


# The keys of each section that say how the work is spread, not what it is.
LAYOUT: dict[str, tuple[str, ...]] = {
    name: spread
    for name, field in Params.model_fields.items()
    if (spread := getattr(field.annotation, "SPREAD", ()))
}
