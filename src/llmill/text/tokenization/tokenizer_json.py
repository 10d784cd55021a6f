"""A tokenizer as Hugging Face's `tokenizer.json`, for other programs to read."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from llmill.contract import record
from llmill.text.tokenization import patterns
from llmill.text.tokenization.tokenizer import Tokenizer, merged, pairs_of, spelt

if TYPE_CHECKING:
    import tokenizers


def write(tokenizer: Tokenizer, file: Path, begin: bool = False) -> None:
    """Write the file, which encodes to the ids of `tokenizer`, with two exceptions.

    The name of a special token in a text becomes that token, and a run of more than 10,000 spaces
    is not cut. With `begin`, every text starts with the token that ends one.
    """
    record.write_bytes(file, converted(tokenizer, begin).to_str(pretty=True).encode())


def converted(tokenizer: Tokenizer, begin: bool = False) -> "tokenizers.Tokenizer":
    """Return the tokenizer as an object of `tokenizers`."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, processors

    vocabulary = {spelt(token): rank for token, rank in tokenizer.ranks.items()}
    pairs = [(spelt(a), spelt(b)) for a, b in merges(tokenizer.ranks)]
    model = models.BPE(vocabulary | tokenizer.special, pairs)
    model.ignore_merges = any(
        len(merged(token, tokenizer.ranks, rank)) > 2 for token, rank in tokenizer.ranks.items()
    )
    result = Tokenizer(model)
    result.decoder = decoders.ByteLevel()
    names = sorted(tokenizer.special, key=tokenizer.special.__getitem__)
    result.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    if begin:
        end = tokenizer.end_name
        result.post_processor = processors.TemplateProcessing(
            single=f"{end} $A", special_tokens=[(end, tokenizer.end_of_text)]
        )
    tree = json.loads(result.to_str()) | {"pre_tokenizer": patterns.form(tokenizer.pattern)}
    return Tokenizer.from_str(json.dumps(tree))


def merges(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Return the pairs that make each token of more than a byte, in the order of ranks."""
    ordered = sorted(ranks, key=ranks.__getitem__)
    return [pair for token in ordered if len(token) > 1 for pair in pairs_of(token, ranks)]
