"""Token shards: documents as arrays of token ids on disk, read through memory maps.

For each shard of documents, a folder holds `<name>.bin` (uint16 or uint32 tokens, every document
followed by <|endoftext|>), `<name>.ends.npy` (uint64: where each document ends, in tokens of its
shard) and `<name>.sources.npy` (uint16: the number of its source). `index.json` records their sizes
and hashes, and names the sources of each shard.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from llmill.contract import elsewhere, record
from llmill.contract.errors import UserError
from llmill.text.tokenization.tokenizer import Tokenizer

INDEX = "index.json"
RESTORE = "`dvc checkout` restores it, or run stage tokenize again"


def dtype(n_vocab: int) -> str:
    """Return the smallest type that holds every token."""
    return "uint16" if n_vocab <= 1 << 16 else "uint32"


def write(
    folder: Path,
    name: str,
    texts: Iterable[str],
    tokenizer: Tokenizer,
    sources: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Encode the texts as one shard, and return its entry in the index.

    Holds one text at a time. `sources`: the source of each text; without it, all texts have one
    source without a name.
    """
    kind = np.dtype(dtype(tokenizer.n_vocab)).newbyteorder("<")
    tokens, ends, numbers = _files(folder, name)
    end = np.array(tokenizer.end_of_text, dtype=kind).tobytes()
    size, text_bytes, lengths = 0, 0, []
    with tokens.open("wb") as file:
        for text in texts:
            ids = tokenizer.encode_array(text)
            file.write(ids.astype(kind).tobytes())
            file.write(end)
            size += len(ids) + 1
            text_bytes += len(text.encode())
            lengths.append(size)
    np.save(ends, np.array(lengths, dtype="<u8"))
    sources = [""] * len(lengths) if sources is None else sources
    names = sorted(set(sources))
    of_source = {source: number for number, source in enumerate(names)}
    np.save(numbers, np.array([of_source[source] for source in sources], dtype="<u2"))
    return {
        "name": name,
        "tokens": size,
        "documents": len(lengths),
        "text_bytes": text_bytes,
        "sources": names,
        "sha256": record.sha256_file(tokens),
        "ends_sha256": record.sha256_file(ends),
        "sources_sha256": record.sha256_file(numbers),
    }


def write_index(folder: Path, n_vocab: int, entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Write the index of the folder, in the order of the shards, and return the totals."""
    totals = {
        "dtype": dtype(n_vocab),
        "n_vocab": n_vocab,
        **{key: sum(e[key] for e in entries) for key in ("tokens", "documents", "text_bytes")},
    }
    record.write_json(folder / INDEX, {**totals, "shards": list(entries)})
    return totals


@dataclass(frozen=True)
class Shards:
    """All tokens of a folder as one sequence."""

    n_vocab: int
    tokens: int
    documents: int
    text_bytes: int  # of the documents' text in UTF-8: the divisor of bits per byte
    parts: list[np.ndarray]  # a memory map per shard
    ends: np.ndarray  # (documents,) end of each in the sequence, after its <|endoftext|>
    starts: list[int]  # where each shard begins in the sequence, and the end of the last
    sources: list[str]  # sorted by name
    source: np.ndarray  # (documents,) the number of each document's source

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Check every file by size and hash, and map it. Raises `UserError` naming a wrong one."""
        index = record.read_json(folder / INDEX)
        kind = np.dtype(index["dtype"]).newbyteorder("<")
        parts: list[np.ndarray] = []
        ends, starts, source = [], [0], []
        sources = sorted({name for entry in index["shards"] for name in entry["sources"]})
        for entry in index["shards"]:
            tokens, documents, numbers = _files(folder, entry["name"])
            _check(tokens, entry["tokens"] * kind.itemsize, entry["sha256"])
            _check(documents, None, entry["ends_sha256"])
            _check(numbers, None, entry["sources_sha256"])
            parts.append(np.memmap(tokens, dtype=kind, mode="r"))
            ends.append(np.load(documents).astype(np.int64) + starts[-1])
            of_shard = np.array([sources.index(name) for name in entry["sources"]], dtype=np.int64)
            source.append(of_shard[np.load(numbers)])
            starts.append(starts[-1] + entry["tokens"])
        totals = {key: index[key] for key in ("n_vocab", "tokens", "documents", "text_bytes")}
        return cls(
            **totals, parts=parts, ends=np.concatenate(ends), starts=starts,
            sources=sources, source=np.concatenate(source),
        )  # fmt: skip

    @classmethod
    def for_windows(cls, folder: Path, tokenizer: Tokenizer, block_size: int) -> Self:
        """Load a folder like `load`. Raises `UserError` for shards that do not fit the tokenizer or
        that hold no window.
        """
        shards = cls.load(folder)
        if shards.n_vocab != tokenizer.n_vocab:
            raise UserError(
                f"{folder}: made with {shards.n_vocab} tokens, the tokenizer has "
                f"{tokenizer.n_vocab}"
            )
        if shards.tokens <= block_size:
            other = "raise prepare.validate_share" if folder.name == "validate" else "add text"
            raise UserError(
                f"{folder}: {shards.tokens} tokens are fewer than one window of {block_size}; "
                f"{other}, or lower model.block_size"
            )
        return shards

    def sources_of(self, places: np.ndarray) -> np.ndarray:
        """Return the number of the source of the token at each place in the sequence."""
        return self.source[np.searchsorted(self.ends, places, side="right")]

    def n_windows(self, block_size: int) -> int:
        """Return the number of windows of `block_size` tokens, with a next token and no overlap."""
        return max(0, self.tokens - 1) // block_size

    def window(self, start: int, length: int) -> np.ndarray:
        """Return tokens `start` to `start + length`, across shards. (length,)"""
        if not 0 <= start <= start + length <= self.tokens:
            raise IndexError(f"tokens {start} to {start + length} of {self.tokens}")
        pieces = []
        shard = int(np.searchsorted(self.starts, start, side="right")) - 1
        while length > 0:
            offset = start - self.starts[shard]
            piece = self.parts[shard][offset : offset + length]
            pieces.append(piece)
            start, length, shard = start + len(piece), length - len(piece), shard + 1
        return np.concatenate(pieces) if pieces else np.empty(0, dtype=np.uint16)


def _files(folder: Path, name: str) -> tuple[Path, Path, Path]:
    if not elsewhere.is_plain(name):
        raise UserError(f"{folder / INDEX}: {elsewhere.quoted(name)} is no shard's name; {RESTORE}")
    return folder / f"{name}.bin", folder / f"{name}.ends.npy", folder / f"{name}.sources.npy"


def _check(file: Path, size: int | None, sha256: str) -> None:
    if not file.exists():
        raise UserError(f"{file}: missing; {RESTORE}")
    actual = file.stat().st_size
    if size is not None and actual != size:
        raise UserError(f"{file}: {actual} bytes, {INDEX} says {size}; {RESTORE}")
    if record.sha256_file(file) != sha256:
        raise UserError(f"{file}: corrupt, its sha256 is not the one in {INDEX}; {RESTORE}")
