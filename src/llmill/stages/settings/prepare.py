"""What stage `prepare` is told."""

from typing import Annotated

from pydantic import Field

from llmill.contract.values import Line, Positive, Section, Share
from llmill.tasks.settings import Split
from llmill.text.settings import Contamination, NearDuplicates

Weights = dict[Line, Annotated[float, Field(ge=0, le=1000)]]  # by source; one not named has 1


class Instructions(Split):
    weights: Weights  # times each training instruction is seen in an epoch


class Prepare(Section):
    weights: Weights  # times each document is seen
    passage_words: Positive  # prose is cut at paragraph ends into passages of about this length
    validate_share: Share
    near_duplicates: NearDuplicates
    contamination: Contamination
    shard_documents: Positive
    classification: Split
    instruction: Instructions
    preference: Split  # of pairs whose prompt is no instruction
