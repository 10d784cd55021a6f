"""Byte-level BPE: learnt with Hugging Face `tokenizers`, or a maker's own; used through tiktoken.

On disk: `ranks.tiktoken` (on each line a token in base64 and its id) and `tokenizer.json` (pattern,
special tokens, n_vocab).
"""

import base64
import binascii
import contextlib
import functools
import heapq
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import regex
import tiktoken
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from llmill.contract import elsewhere, record
from llmill.contract.errors import UserError
from llmill.text.halves import without_halves

if TYPE_CHECKING:  # only learning needs it
    import tokenizers

END_OF_TEXT = "<|endoftext|>"
RANKS, SETTINGS = "ranks.tiktoken", "tokenizer.json"
BYTES = 256
# How GPT-2 cuts text before merging. Possessive repeats match the same and never backtrack.
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
LONGEST_SPACE = 10_000  # longer runs of spaces are cut: a million overflow the pattern's stack
# Match only where a run begins; otherwise a run that is too short would be tried at every place.
LONG_SPACE = re.compile(rf"((?<!\s)(?:\s{{{LONGEST_SPACE}}})+)")
LONGEST_PIECE = 1024  # bytes; learning takes quadratic time in a piece's length
# Bytes that are not UTF-8, as `surrogateescape` shows them.
NOT_UTF8 = re.compile("([\udc80-\udcff])")
RESTORE = "`dvc checkout` restores it, or run stage tokenizer again"


class Tokenizer:
    """Converts text to ids and back.

    No text encodes to a special token; one of them ends every text. Published weights may also end
    a text with other tokens: `ends` has all of them.

    The ids are 0 to `n_vocab` - 1. A byte that no token stands for is left out of a text, because
    published vocabularies may lack bytes that their makers did not see.
    """

    def __init__(
        self,
        ranks: dict[bytes, int],
        pattern: str = PATTERN,
        special: dict[str, int] | None = None,
        end_name: str = END_OF_TEXT,
        ends: Iterable[int] = (),
    ):
        """`special`: ids by name; without it, only <|endoftext|>, after the ranks. `ends`: ids that
        end what a model writes, as the id of `end_name` does.
        """
        self.ranks, self.pattern = ranks, pattern
        self.special = {END_OF_TEXT: len(ranks)} if special is None else special
        self.end_name, self.end_of_text = end_name, self.special[end_name]
        self.ends = frozenset((self.end_of_text, *ends))
        self.n_vocab = len(ranks) + len(self.special)
        self.absent = bytes(b for b in range(BYTES) if bytes([b]) not in ranks)
        self._encoding = tiktoken.Encoding(
            "llmill", pat_str=pattern, mergeable_ranks=ranks, special_tokens=self.special
        )

    def ending(self, end: int) -> "Tokenizer":
        """Return the same tokenizer, with this token as another end of what a model writes."""
        ends = self.ends | {end}
        return Tokenizer(self.ranks, self.pattern, self.special, self.end_name, ends)

    def encode(self, text: str) -> list[int]:
        """Return ids of a text. `<|endoftext|>` in it is text; a lone surrogate becomes U+FFFD."""
        if len(text) <= LONGEST_SPACE:
            return self._encode(text)
        return [i for part in _without_long_space(text) for i in self._encode(part)]

    def encode_array(self, text: str) -> np.ndarray:
        """Return the same ids, (n,) uint32, without a list in between."""
        if len(text) <= LONGEST_SPACE and not self.absent:
            with contextlib.suppress(UnicodeEncodeError):  # a lone surrogate
                return self._encoding.encode_to_numpy(text, disallowed_special=())
        return np.array(self.encode(text), dtype=np.uint32)

    def _encode(self, text: str) -> list[int]:
        if not self.absent:
            return self._encoding.encode_ordinary(text)
        whole = without_halves(text)
        content = whole.encode()
        if content.translate(None, self.absent) == content:
            return self._encoding.encode_ordinary(whole)
        return self._encode_without_absent(whole)

    def _encode_without_absent(self, text: str) -> list[int]:
        """Encode a text without absent bytes. Cutting comes first, so their neighbours merge."""
        ids: list[int] = []
        for piece in regex.finditer(self.pattern, text):
            content = piece[0].encode()
            left = content.translate(None, self.absent)
            whole = self.ranks.get(left) if left == content else None
            parts = merged(left, self.ranks, self.n_vocab) if whole is None else [left]
            ids += [self.ranks[part] for part in parts]
        return ids

    def encode_bytes(self, content: bytes) -> list[int]:
        """Return the ids of any bytes: their UTF-8 parts as text, every other byte alone."""
        parts = NOT_UTF8.split(content.decode("utf-8", errors="surrogateescape"))
        ids: list[int] = []
        for i, part in enumerate(parts):
            if i % 2 == 0:
                ids += self.encode(part)
            elif (alone := bytes([ord(part) - 0xDC00])) in self.ranks:
                ids.append(self.ranks[alone])
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Return the bytes of ids."""
        return self._encoding.decode_bytes(list(ids))

    def save(self, folder: Path) -> None:
        """Write the two files into a folder, which is created if it is missing."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = (
            base64.b64encode(token) + b" %d\n" % rank
            for token, rank in sorted(self.ranks.items(), key=lambda pair: pair[1])
        )
        record.write_bytes(folder / RANKS, b"".join(lines))
        settings = {
            "pattern": self.pattern,
            "special": self.special,
            "end_of_text": self.end_name,
            "n_vocab": self.n_vocab,
            **({"ends": sorted(self.ends)} if len(self.ends) > 1 else {}),
        }
        record.write_json(folder / SETTINGS, settings)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises `UserError` that names a missing or incomplete file."""
        settings = _settings(folder / SETTINGS)
        ranks, special = read_ranks(folder / RANKS), settings.special
        ids = sorted([*ranks.values(), *special.values()])
        whole = ids == list(range(len(ids))) and len(ids) == settings.n_vocab
        ends = {special.get(settings.end_of_text, -1), *settings.ends}
        if not whole or not ends <= set(ids):
            raise UserError(
                f"{folder / RANKS}: {len(ranks)} tokens do not fit {SETTINGS} beside it; {RESTORE}"
            )
        try:
            if regex.match(settings.pattern, ""):
                raise ValueError("the pattern cuts out nothing")
            return cls(ranks, settings.pattern, special, settings.end_of_text, settings.ends)
        except (ValueError, regex.error) as error:
            raise UserError(f"{folder / SETTINGS}: not usable ({error}); {RESTORE}") from None


def _without_long_space(text: str) -> Iterator[str]:
    """Yield the parts of a text, none of which has a run of spaces longer than `LONGEST_SPACE`."""
    for number, part in enumerate(LONG_SPACE.split(text)):
        step = LONGEST_SPACE if number % 2 else max(1, len(part))
        yield from (part[i : i + step] for i in range(0, len(part), step))


class TokenizerFile(BaseModel):
    """The content of `tokenizer.json`, beside the ranks."""

    model_config = ConfigDict(frozen=True, strict=True)
    pattern: str
    special: dict[str, int]
    end_of_text: str
    n_vocab: int
    ends: list[int] = []  # if there are more than `end_of_text`


def _settings(file: Path) -> TokenizerFile:
    try:
        return TokenizerFile.model_validate(elsewhere.read_object(file))
    except UserError as error:
        raise UserError(f"{error}; {RESTORE}") from None
    except ValidationError as error:
        raise UserError(f"{file}: {elsewhere.problem(error)}; {RESTORE}") from None


def train(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn `vocab_size` tokens, including <|endoftext|>. The same texts give the same tokens."""
    learnt = learn(texts, vocab_size - 1).get_vocab()
    if len(learnt) < vocab_size - 1:
        raise UserError(
            f"params.yaml: tokenizer.vocab_size {vocab_size}: the training text gives only "
            f"{len(learnt) + 1} tokens; choose at most that, or more text"
        )
    return Tokenizer(as_ranks(learnt))


def learn(texts: Iterable[str], size: int) -> "tokenizers.Tokenizer":
    """Learn byte-level BPE of at most `size` tokens, each seen at least twice.

    For learning only, pieces of text are cut again after every `LONGEST_PIECE` bytes. No word of
    any language is so long, and no longer token is learnt.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    learnt = Tokenizer(models.BPE())
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learnt.pre_tokenizer = pre_tokenizers.Sequence(
        [whole, pre_tokenizers.FixedLength(LONGEST_PIECE)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learnt.train_from_iterator(texts, trainer)
    learnt.pre_tokenizer = whole
    return learnt


def from_gpt2(
    folder: Path, encoder_name: str = "encoder.json", merges_name: str = "vocab.bpe"
) -> Tokenizer:
    """Read GPT-2's own vocabulary, and check it against its merges."""
    encoder, merges = folder / encoder_name, folder / merges_name
    try:
        vocabulary = TypeAdapter(dict[str, int]).validate_python(
            elsewhere.read_object(encoder), strict=True
        )
    except ValidationError as error:
        raise UserError(f"{encoder}: not a vocabulary ({elsewhere.problem(error)})") from None
    pairs = elsewhere.read_text(merges).split("\n")[1:]
    tokens = [pair.replace(" ", "") for pair in pairs if pair]
    end = vocabulary.pop(END_OF_TEXT, None)
    if end != BYTES + len(tokens) or len(vocabulary) != end:
        raise UserError(
            f"{merges}: {len(tokens)} merges do not make the {len(vocabulary)} tokens of {encoder}"
        )
    wrong = next((i for i, token in enumerate(tokens) if vocabulary.get(token) != BYTES + i), None)
    if wrong is not None:
        raise UserError(f"{merges}: line {wrong + 2} makes no token {BYTES + wrong} of {encoder}")
    alone = sorted(vocabulary.get(character, -1) for character in _byte_of_character())
    if alone != list(range(BYTES)):
        raise UserError(f"{encoder}: the first {BYTES} tokens are not one for each byte")
    try:
        return Tokenizer(as_ranks(vocabulary))
    except KeyError as error:
        raise UserError(f"{encoder}: a token holds {error.args[0]!r}, no byte") from None


def merged(content: bytes, ranks: dict[bytes, int], below: int) -> list[bytes]:
    """Return the parts of a content after all merges into tokens with a rank below `below`."""
    parts = [bytes([byte]) for byte in content]
    after = [*range(1, len(parts) + 1)]  # for each part that is left, the place of the next one
    before = [*range(-1, len(parts) - 1)]
    heap = [(ranks.get(a + b, below), at) for at, (a, b) in enumerate(itertools.pairwise(parts))]
    heapq.heapify(heap)
    while heap and heap[0][0] < below:
        rank, at = heapq.heappop(heap)
        next_at = after[at]
        if not parts[at] or next_at == len(parts) or ranks.get(parts[at] + parts[next_at]) != rank:
            continue  # one of the two was merged with another since
        parts[at], parts[next_at] = parts[at] + parts[next_at], b""
        after[at] = after[next_at]
        if after[at] < len(parts):
            before[after[at]] = at
            heapq.heappush(heap, (ranks.get(parts[at] + parts[after[at]], below), at))
        if at > 0:
            first = before[at]
            heapq.heappush(heap, (ranks.get(parts[first] + parts[at], below), first))
    return [part for part in parts if part]


def pairs_of(token: bytes, ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Return the pairs that a token is merged from.

    If merges into tokens of lower rank leave two parts of it, only these can ever meet. Otherwise
    the pairs are all two tokens that make it, if any.
    """
    parts = merged(token, ranks, ranks[token])
    if len(parts) == 2:
        return [(parts[0], parts[1])]
    cuts = ((token[:i], token[i:]) for i in range(1, len(token)))
    return [(a, b) for a, b in cuts if a in ranks and b in ranks]


def as_ranks(vocabulary: dict[str, int]) -> dict[bytes, int]:
    """Convert tokens spelt in GPT-2's printable characters to the bytes they stand for, by id."""
    byte = _byte_of_character()
    ordered = sorted(vocabulary.items(), key=lambda pair: pair[1])
    return {bytes(byte[c] for c in token): rank for token, rank in ordered}


def spelt(token: bytes) -> str:
    """Spell a token in GPT-2's printable characters."""
    return "".join(_character_of_byte()[byte] for byte in token)


@functools.cache
def _character_of_byte() -> dict[int, str]:
    return {byte: character for character, byte in _byte_of_character().items()}


@functools.cache
def _byte_of_character() -> dict[str, int]:
    """Return the byte of each of GPT-2's characters.

    Printable Latin-1 bytes are spelt as themselves, the n-th other byte as character 256 + n.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(BYTES) if b not in printable]
    spelt = {chr(b): b for b in printable}
    return spelt | {chr(BYTES + n): b for n, b in enumerate(others)}


def read_ranks(file: Path) -> dict[bytes, int]:
    try:
        pairs = [line.split() for line in elsewhere.read_bytes(file).splitlines()]
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in pairs}
    except UserError as error:
        raise UserError(f"{error}; {RESTORE}") from None
    except (ValueError, binascii.Error):
        raise UserError(f"{file}: not a list of tokens and ranks; {RESTORE}") from None
    return ranks
