"""Settings of near duplicates, and of documents that hold an evaluation text."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from llmill.contract.values import Section, Words

TextFormat = Literal["gutenberg", "prose", "paragraphs", "documents"]


class NearDuplicates(Section):
    """MinHash: shingles of `shingle_words` words, then exact Jaccard similarity."""

    shingle_words: Words
    similarity: Annotated[float, Field(gt=0, le=0.95)]  # above this, 16 permutations have no bands
    permutations: Annotated[int, Field(ge=16, le=1024)]


class WordRuns(Section):
    """A document is removed if it holds `words` consecutive words of an evaluation text, or the
    whole of a shorter one.
    """

    words: Words
    shortest: Words  # texts of fewer words only match whole documents

    @model_validator(mode="after")
    def shortest_is_no_longer(self) -> Self:
        if self.shortest > self.words:
            raise ValueError(
                f"shortest {self.shortest} is more than words {self.words}, so nothing would be "
                "looked for inside documents"
            )
        return self
