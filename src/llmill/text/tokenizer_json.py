"""A tokenizer as the `tokenizer.json` of Hugging Face, for other programs to read."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from llmill.contract import record
from llmill.text.tokenizer import END_OF_TEXT, PATTERN, Tokenizer, spelt

if TYPE_CHECKING:
    import tokenizers

# `PATTERN` in words that every regular expression library has; it cuts the same.
PORTABLE = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def write(tokenizer: Tokenizer, file: Path, begin: bool = False) -> None:
    """Write the file; what it encodes to are the ids of `tokenizer`, with two exceptions:
    `<|endoftext|>` in a text becomes the special token there, and a run of more than 10,000
    spaces is not cut there. With `begin` every text gets `<|endoftext|>` in front.
    """
    record.write_bytes(file, converted(tokenizer, begin).to_str(pretty=True).encode())


def converted(tokenizer: Tokenizer, begin: bool = False) -> "tokenizers.Tokenizer":
    """The tokenizer as an object of `tokenizers`."""
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
        processors,
    )

    pattern = PORTABLE if tokenizer.pattern == PATTERN else tokenizer.pattern
    vocabulary = {spelt(token): rank for token, rank in tokenizer.ranks.items()}
    pairs = [(spelt(a), spelt(b)) for a, b in merges(tokenizer.ranks)]
    made = Tokenizer(models.BPE(vocabulary, pairs))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(END_OF_TEXT, normalized=False, special=True)])
    if begin:
        made.post_processor = processors.TemplateProcessing(
            single=f"{END_OF_TEXT} $A", special_tokens=[(END_OF_TEXT, tokenizer.end_of_text)]
        )
    return made


def merges(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The pair that makes each token of more than a byte, in the order of ranks: what is left of
    the token when only pairs of lower rank are merged.
    """
    found = []
    for token, rank in sorted(ranks.items(), key=lambda pair: pair[1]):
        if len(token) > 1:
            first, second = _merged(token, ranks, rank)
            found.append((first, second))
    return found


def _merged(token: bytes, ranks: dict[bytes, int], below: int) -> list[bytes]:
    """The parts of a token after all merges into tokens of a rank below."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 1:
        pairs = [ranks.get(a + b, below) for a, b in itertools.pairwise(parts)]
        lowest = min(pairs)
        if lowest >= below:
            break
        at = pairs.index(lowest)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts
