"""What counts as a repeated document, and as one that holds a test."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from llmill.contract.values import Section, Words

TextFormat = Literal["gutenberg", "prose", "paragraphs", "documents"]


class NearDuplicates(Section):
    """MinHash: shingles of `shingle_words` words, then exact Jaccard similarity."""

    shingle_words: Words
    similarity: Annotated[float, Field(gt=0, le=0.95)]  # above, 16 permutations have no bands
    permutations: Annotated[int, Field(ge=16, le=1024)]


class Contamination(Section):
    """A document goes if it holds `words` consecutive words of an evaluation text, or a whole
    shorter one.
    """

    words: Words
    shortest: Words  # texts of fewer words are looked for as whole documents only

    @model_validator(mode="after")
    def shortest_is_no_longer(self) -> Self:
        if self.shortest > self.words:
            raise ValueError(
                f"shortest {self.shortest} is more than words {self.words}, so nothing would be "
                "looked for inside documents"
            )
        return self
