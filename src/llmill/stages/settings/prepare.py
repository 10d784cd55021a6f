"""Parameters of stage `prepare`."""

from typing import Annotated

from pydantic import Field

from llmill.contract.values import Line, Positive, Section, Share
from llmill.tasks.settings import Split
from llmill.text.settings import NearDuplicates, WordRuns

SourceWeights = dict[Line, Annotated[float, Field(ge=0, le=1000)]]  # by source; default 1


class Instructions(Split):
    weights: SourceWeights  # repeats of each training instruction per epoch


class Prepare(Section):
    weights: SourceWeights  # repeats of each training document
    passage_words: Positive  # about so many words per passage; prose is cut at paragraph ends
    validate_share: Share
    near_duplicates: NearDuplicates
    contamination: WordRuns
    shard_documents: Positive
    classification: Split
    instruction: Instructions
    preference: Split  # of pairs whose prompt is not an instruction
