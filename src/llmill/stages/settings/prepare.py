"""What stage `prepare` is told."""

from typing import Annotated

from pydantic import Field

from llmill.contract.values import Line, Positive, Section, Share
from llmill.tasks.settings import Split
from llmill.text.settings import Contamination, NearDuplicates


class Prepare(Section):
    weights: dict[Line, Annotated[float, Field(ge=0, le=1000)]]  # times each document is seen
    passage_words: Positive  # prose is cut at paragraph ends into passages of about this length
    validate_share: Share
    near_duplicates: NearDuplicates
    contamination: Contamination
    shard_documents: Positive
    classification: Split
    instruction: Split
    preference: Split  # of pairs whose prompt is no instruction
