"""Texts that begin alike, read as a tree: what several share is computed once.

In sorted order each text branches off the one before it where the two first differ. A pass reads a
stretch of that order as one row of tokens, of which each looks at those before it in its own text
alone. Keys and values of the first text of a pass are kept for the texts of the next that begin so.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from llmill.model.cache import Cache
from llmill.model.transformer import Transformer, View

Text = bytes  # ids, four bytes each, the highest first: sorts as the ids do
Ids = np.ndarray  # (T,)

TOKENS = 256  # that a pass reads, or a few more


def text(ids: Sequence[int]) -> Text:
    """Ids in the form that is sorted."""
    return np.asarray(ids, dtype=">u4").tobytes()


def ids(text: Text) -> Ids:
    """The ids of a text, int64."""
    return np.frombuffer(text, dtype=">u4").astype(np.int64)


def read(
    model: Transformer, texts: Sequence[Text], ends: Sequence[int], batch_size: int
) -> Iterator[tuple[list[int], Tensor, list[Tensor]]]:
    """The stream after the final norm at the last `ends[i]` positions of each text i.

    For each pass: the numbers of its texts, up to `batch_size`; the stream at all these positions,
    each once, (N, C); and for each of its texts which of the N are its own, in order.
    """
    device = next(model.parameters()).device
    cache, first = Cache(torch.zeros(1, dtype=torch.long, device=device)), b""
    for numbers in _passes(texts, batch_size):
        rows, lasts = [ids(texts[i]) for i in numbers], [ends[i] for i in numbers]
        # Kept of the pass before: what all of these begin with, up to where an end is asked for.
        same = min(_shared(first, texts[numbers[0]]), _shared(first, texts[numbers[-1]]))
        cache.used = min(same, *(len(row) - n for row, n in zip(rows, lasts, strict=True)))
        tokens, paths = _branches(rows, cache.used)
        mask, places = _sight(paths, cache.used, len(tokens))
        view = View(mask[None, None].to(device), places[None].to(device), cache)
        idx = torch.from_numpy(tokens)[None].to(device)
        stream = model.norm(model.through(model.enter(idx, view), view))[0]  # (T, C)
        asked = [path[len(path) - n :] for path, n in zip(paths, lasts, strict=True)]
        positions, own = torch.cat(asked).unique(return_inverse=True)
        yield numbers, stream[positions.to(device)], list(own.to(device).split(lasts))
        first = texts[numbers[0]]


def _passes(texts: Sequence[Text], batch_size: int) -> Iterator[list[int]]:
    """Numbers of texts in sorted order, as many as fit into a pass."""
    numbers: list[int] = []
    before, tokens = b"", 0
    for i in sorted(range(len(texts)), key=texts.__getitem__):
        new = len(texts[i]) // 4 - _shared(before, texts[i])
        if numbers and (len(numbers) == batch_size or tokens + new > TOKENS):
            yield numbers
            new = len(texts[i]) // 4 - _shared(texts[numbers[0]], texts[i])
            numbers, tokens = [], 0
        numbers.append(i)
        before, tokens = texts[i], tokens + new
    if numbers:
        yield numbers


def _branches(rows: Sequence[Ids], kept: int) -> tuple[Ids, list[Tensor]]:
    """The tokens of sorted rows behind their first `kept`, those that rows share once, (T,); and of
    each row the numbers of its tokens among these.
    """
    tokens, paths = [rows[0][kept:]], [torch.arange(len(rows[0]) - kept)]
    count = len(rows[0]) - kept
    for before, row in pairwise(rows):
        shared = _same(before, row)
        new = torch.arange(count, count + len(row) - shared)
        tokens.append(row[shared:])
        paths.append(torch.cat([paths[-1][: shared - kept], new]))
        count += len(new)
    return np.concatenate(tokens), paths


def _sight(paths: Sequence[Tensor], kept: int, count: int) -> tuple[Tensor, Tensor]:
    """What each of `count` tokens may look at, (T, kept + T), and its place in its text, (T,)."""
    mask = torch.zeros(count, kept + count, dtype=torch.bool)
    mask[:, :kept] = True
    places = torch.zeros(count, dtype=torch.long)
    for path in paths:
        mask[path[:, None], kept + path] = torch.ones(len(path), len(path)).tril().bool()
        places[path] = torch.arange(kept, kept + len(path))
    return mask, places


def _shared(first: Text, second: Text) -> int:
    """How many ids two texts have in common at their beginning."""
    return _same(np.frombuffer(first, ">u4"), np.frombuffer(second, ">u4"))


def _same(first: Ids, second: Ids) -> int:
    n = min(len(first), len(second))
    other = first[:n] != second[:n]
    return int(other.argmax()) if other.any() else n
