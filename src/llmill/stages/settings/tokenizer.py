"""What stage `tokenizer` is told."""

from typing import Annotated, Literal

from pydantic import Field

from llmill.contract.values import Section


class TokenizerSection(Section):
    kind: Literal["bpe", "gpt2", "init"]  # init: that of the weights to begin from
    vocab_size: Annotated[int, Field(ge=257, le=1_000_000)] | None  # with <|endoftext|>
