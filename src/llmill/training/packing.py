"""Packing: rows of whole documents in place of windows across them, and rows of several texts of a
task.

Input: where each document of the shards ends, or the texts. Output: a plan of rows, which is the
same for every epoch and seed; `Rows` and `Examples` draw the order of the rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from llmill.text.tokenization.shards import Shards
from llmill.training.batches import NOWHERE, Batch, Example, Rows, Span, collate_texts, pad


class Packed(Rows):
    """Rows of whole documents, and of parts of documents that are longer than a row."""

    def __init__(self, shards: Shards, block_size: int, seed: int, mask_documents: bool):
        self.plan = Plan.make(shards.ends, block_size)
        super().__init__(shards, self.plan.n, block_size, seed, mask_documents)

    def row(self, number: int) -> list[Span]:
        return self.plan.row(number)


@dataclass(frozen=True)
class Plan:
    """The pieces of each row. A piece is a document, or part of a document longer than a row."""

    starts: np.ndarray  # (pieces,) index of the first token of each piece, row by row
    lengths: np.ndarray  # (pieces,) in tokens
    bounds: np.ndarray  # (rows + 1,) index of each row's first piece, and the number of pieces

    @classmethod
    def make(cls, ends: np.ndarray, block_size: int) -> Self:
        """Plan rows of at most `block_size` + 1 tokens by best-fit decreasing. Within a row, the
        pieces are in the order of the shards.

        O(n log n): a million documents take less than a second on one core, and 90 MB of memory.
        """
        starts, lengths = pieces(ends, block_size)
        row = best_fit_decreasing(lengths, block_size + 1)
        order = np.argsort(row, kind="stable")
        bounds = np.concatenate(([0], np.cumsum(np.bincount(row))))
        return cls(starts[order], lengths[order], bounds)

    @property
    def n(self) -> int:
        """The number of rows."""
        return len(self.bounds) - 1

    def row(self, number: int) -> list[Span]:
        """Return the pieces of a row, from left to right."""
        here = slice(self.bounds[number], self.bounds[number + 1])
        return list(zip(self.starts[here].tolist(), self.lengths[here].tolist(), strict=True))


def packed(texts: Sequence[Example], block_size: int) -> list[list[Example]]:
    """Pack whole texts into rows of at most `block_size` tokens by best-fit decreasing. Within a
    row, the texts keep their order.
    """
    row = best_fit_decreasing(np.array([len(ids) for ids, _ in texts]), block_size)
    rows: list[list[Example]] = [[] for _ in range(int(row.max(initial=-1)) + 1)]
    for number, text in zip(row.tolist(), texts, strict=True):
        rows[number].append(text)
    return rows


def row_length(row: Sequence[Example]) -> int:
    """Return the number of tokens of a row."""
    return sum(len(ids) for ids, _ in row)


def collate_packed(rows: Sequence[Sequence[Example]]) -> Batch:
    """Collate rows of texts, with the inputs and targets of `collate_texts`. If any row holds
    several texts, inputs also hold the number of each position's text in its row, (B, T). Each text
    then has its own attention and positions, and so the same loss as alone.
    """
    joined = [
        ([token for ids, _ in row for token in ids], [each for _, of in row for each in of])
        for row in rows
    ]
    batch = collate_texts(joined)
    if all(len(row) == 1 for row in rows):  # without a mask, attention is faster
        return batch
    numbers = [[n for n, (ids, _) in enumerate(row) for _ in ids] for row in rows]
    return replace(batch, inputs=(*batch.inputs, pad(numbers, NOWHERE)))


def pieces(ends: np.ndarray, block_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first token and the length of each piece, (pieces,) each, in the order of the
    shards. A piece has at most `block_size` + 1 tokens.

    A longer document is cut into full rows and a rest. Each part begins with the last token of the
    part before, so that every token but the document's first is the target of exactly one position.
    """
    starts = np.concatenate(([0], ends[:-1]))
    targets = ends - starts - 1
    parts = np.maximum(1, -(-targets // block_size))  # parts of each document
    before = np.repeat(np.cumsum(parts) - parts, parts)  # number of pieces of earlier documents
    firsts = np.repeat(starts, parts) + block_size * (np.arange(len(before)) - before)
    return firsts, np.minimum(block_size + 1, np.repeat(ends, parts) - firsts)


def best_fit_decreasing(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """Return the row of each item, (n,). The longest item comes first, and each item goes into the
    fullest row that has room.

    Items of the same length, and rows with the same free room, are handled together. The Python
    loops go over lengths and rooms, at most capacity² / 2 turns, and never over items.
    """
    row = np.empty(len(lengths), dtype=np.int64)
    n_rows = 0
    rooms: list[list[np.ndarray]] = [[] for _ in range(capacity + 1)]  # rows, by free room
    order = np.argsort(-lengths, kind="stable")
    sizes, begins = np.unique(-lengths[order], return_index=True)
    for length, items in zip(-sizes, np.split(order, begins[1:]), strict=True):
        for room in range(length, capacity + 1):
            if not len(items):
                break
            each = room // length  # items that fit into such a row
            if room == capacity:
                rooms[room].append(np.arange(n_rows, n_rows := n_rows + -(-len(items) // each)))
            if not rooms[room]:
                continue
            open_rows = np.concatenate(rooms[room])
            rooms[room].clear()
            full, over = divmod(min(len(items), each * len(open_rows)), each)
            n_placed, used = full * each + over, full + bool(over)
            row[items[:n_placed]] = np.repeat(open_rows, each)[:n_placed]
            items = items[n_placed:]
            _put(rooms[room - each * length], open_rows[:full])
            _put(rooms[room - over * length], open_rows[full:used])
            _put(rooms[room], open_rows[used:])
    return row


def _put(rows: list[np.ndarray], more: np.ndarray) -> None:
    if len(more):
        rows.append(more)
