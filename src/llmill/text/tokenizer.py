"""Byte-level BPE: learnt with Hugging Face `tokenizers` or taken from GPT-2, used through tiktoken.

On disk: `ranks.tiktoken` (a token in base64 and its id a line) and `tokenizer.json` (pattern,
special tokens, n_vocab).
"""

import base64
import binascii
import contextlib
import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import tiktoken

from llmill.contract import record
from llmill.contract.errors import UserError

if TYPE_CHECKING:  # only learning needs it
    import tokenizers

END_OF_TEXT = "<|endoftext|>"
RANKS, SETTINGS = "ranks.tiktoken", "tokenizer.json"
BYTES = 256
# How GPT-2 cuts text before merging; possessive repeats match the same and never go back.
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
LONGEST_SPACE = 10_000  # a run of spaces is cut there: a million would overflow the pattern's stack
LONG_SPACE = re.compile(rf"(\s{{{LONGEST_SPACE}}})")
# Bytes that are no UTF-8, as `surrogateescape` shows them.
NOT_UTF8 = re.compile("([\udc80-\udcff])")
RESTORE = "`dvc checkout` restores it, or run stage tokenizer again"


class Tokenizer:
    """Text to ids and back. The last id is <|endoftext|>, which no text encodes to."""

    def __init__(self, ranks: dict[bytes, int], pattern: str = PATTERN):
        self.ranks, self.pattern = ranks, pattern
        self.end_of_text = len(ranks)
        self.n_vocab = len(ranks) + 1
        self._encoding = tiktoken.Encoding(
            "llmill",
            pat_str=pattern,
            mergeable_ranks=ranks,
            special_tokens={END_OF_TEXT: self.end_of_text},
            explicit_n_vocab=self.n_vocab,
        )

    def encode(self, text: str) -> list[int]:
        """Ids of any text. `<|endoftext|>` in it is text; a lone surrogate becomes U+FFFD."""
        if len(text) <= LONGEST_SPACE:
            return self._encoding.encode_ordinary(text)
        return [i for part in LONG_SPACE.split(text) for i in self._encoding.encode_ordinary(part)]

    def encode_array(self, text: str) -> np.ndarray:
        """The same ids, (n,) uint32, without a list in between."""
        if len(text) <= LONGEST_SPACE:
            with contextlib.suppress(UnicodeEncodeError):  # a lone surrogate
                return self._encoding.encode_to_numpy(text, disallowed_special=())
        return np.array(self.encode(text), dtype=np.uint32)

    def encode_bytes(self, content: bytes) -> list[int]:
        """Ids of any bytes: of their UTF-8 parts as text, of every other byte alone."""
        parts = NOT_UTF8.split(content.decode("utf-8", errors="surrogateescape"))
        ids: list[int] = []
        for i, part in enumerate(parts):
            ids += [self.ranks[bytes([ord(part) - 0xDC00])]] if i % 2 else self.encode(part)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids; bytes that are no UTF-8 show as U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Bytes of ids."""
        return self._encoding.decode_bytes(list(ids))

    def save(self, folder: Path) -> None:
        """Write the two files into a folder, which is made where it is missing."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = (
            base64.b64encode(token) + b" %d\n" % rank
            for token, rank in sorted(self.ranks.items(), key=lambda pair: pair[1])
        )
        record.write_bytes(folder / RANKS, b"".join(lines))
        settings = {
            "pattern": self.pattern,
            "special": {END_OF_TEXT: self.end_of_text},
            "n_vocab": self.n_vocab,
        }
        record.write_json(folder / SETTINGS, settings)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises `UserError` naming a file that is missing or not whole."""
        settings = record.read_json(folder / SETTINGS)
        ranks = _read_ranks(folder / RANKS)
        special = {END_OF_TEXT: len(ranks)}
        if settings.get("n_vocab") != len(ranks) + 1 or settings.get("special") != special:
            raise UserError(
                f"{folder / RANKS}: {len(ranks)} tokens do not fit {SETTINGS} beside it; {RESTORE}"
            )
        return cls(ranks, settings["pattern"])


def train(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn `vocab_size` tokens, <|endoftext|> among them. The same texts give the same tokens."""
    learnt = learn(texts, vocab_size - 1).get_vocab()
    if len(learnt) < vocab_size - 1:
        raise UserError(
            f"params.yaml: tokenizer.vocab_size {vocab_size}: the training text gives only "
            f"{len(learnt) + 1} tokens; choose at most that, or more text"
        )
    return Tokenizer(_as_ranks(learnt))


def learn(texts: Iterable[str], size: int) -> "tokenizers.Tokenizer":
    """Byte-level BPE of at most `size` tokens, every one seen at least twice."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learnt.train_from_iterator(texts, trainer)
    return learnt


def from_gpt2(folder: Path) -> Tokenizer:
    """GPT-2's own vocabulary: `encoder.json`, checked against the merges in `vocab.bpe`."""
    encoder, merges = folder / "encoder.json", folder / "vocab.bpe"
    vocabulary = record.read_json(encoder)
    try:
        pairs = merges.read_text(encoding="utf-8").split("\n")[1:]
    except FileNotFoundError:
        raise UserError(f"{merges}: missing; run stage download again") from None
    made = [pair.replace(" ", "") for pair in pairs if pair]
    end = vocabulary.pop(END_OF_TEXT, None)
    if end != BYTES + len(made) or len(vocabulary) != end:
        raise UserError(
            f"{merges}: {len(made)} merges do not make the {len(vocabulary)} tokens of {encoder}"
        )
    wrong = next((i for i, token in enumerate(made) if vocabulary.get(token) != BYTES + i), None)
    if wrong is not None:
        raise UserError(f"{merges}: line {wrong + 2} makes no token {BYTES + wrong} of {encoder}")
    return Tokenizer(_as_ranks(vocabulary))


def _as_ranks(vocabulary: dict[str, int]) -> dict[bytes, int]:
    """Tokens spelt in GPT-2's printable characters as the bytes they stand for, by id."""
    byte = _byte_of_character()
    ordered = sorted(vocabulary.items(), key=lambda pair: pair[1])
    return {bytes(byte[c] for c in token): rank for token, rank in ordered}


def spelt(token: bytes) -> str:
    """A token in GPT-2's printable characters."""
    return "".join(_character_of_byte()[byte] for byte in token)


@functools.cache
def _character_of_byte() -> dict[int, str]:
    return {byte: character for character, byte in _byte_of_character().items()}


def _byte_of_character() -> dict[str, int]:
    """GPT-2 spells printable Latin-1 bytes as themselves, the n-th other as character 256 + n."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(BYTES) if b not in printable]
    spelt = {chr(b): b for b in printable}
    return spelt | {chr(BYTES + n): b for n, b in enumerate(others)}


def _read_ranks(file: Path) -> dict[bytes, int]:
    try:
        pairs = [line.split() for line in file.read_bytes().splitlines()]
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in pairs}
    except FileNotFoundError:
        raise UserError(f"{file}: missing; {RESTORE}") from None
    except (ValueError, binascii.Error):
        raise UserError(f"{file}: not a list of tokens and ranks; {RESTORE}") from None
    whole = sorted(ranks.values()) == list(range(len(ranks)))
    if not whole or not all(bytes([b]) in ranks for b in range(BYTES)):
        raise UserError(f"{file}: not whole, {len(ranks)} tokens; {RESTORE}")
    return ranks
