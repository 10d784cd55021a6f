"""Parameters of stage `tokenizer`."""

from typing import Annotated, Literal

from pydantic import Field

from llmill.contract.values import Section


class TokenizerSection(Section):
    kind: Literal["bpe", "gpt2", "init"]  # init: the tokenizer of the initial weights
    vocab_size: Annotated[int, Field(ge=257, le=1_000_000)] | None  # includes <|endoftext|>
