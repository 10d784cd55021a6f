"""Read texts as a prefix tree: a beginning that several texts share is computed once.

In sorted order, each text branches off the previous one where the two first differ. A pass reads
some consecutive texts as one row of tokens. Each token attends only to the earlier tokens of its
own text. The keys and values of the first text of a pass are cached for texts of the next pass that
begin in the same way.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from llmill.model.cache import Cache
from llmill.model.transformer import Transformer, View

Text = bytes  # ids as big-endian 32-bit integers, so bytes sort as the ids do
Ids = np.ndarray  # (T,)

TOKENS = 256  # about so many new tokens per pass; a single text may have more


def text(ids: Sequence[int]) -> Text:
    """Encode token ids as bytes that sort in the order of the ids."""
    return np.asarray(ids, dtype=">u4").tobytes()


def ids(text: Text) -> Ids:
    """Decode the token ids of a text, (T,), int64."""
    return np.frombuffer(text, dtype=">u4").astype(np.int64)


def read(
    model: Transformer, texts: Sequence[Text], ends: Sequence[int], batch_size: int
) -> Iterator[tuple[list[int], Tensor, list[Tensor]]]:
    """Yield the hidden states after the final norm at the last `ends[i]` positions of each text i.

    Each pass yields the numbers of its texts (at most `batch_size`), the states at all these
    positions without duplicates, (N, C), and for each text the rows of its own states among the N,
    (ends[i],), in order.
    """
    device = next(model.parameters()).device
    cache, first = Cache(torch.zeros(1, dtype=torch.long, device=device)), b""
    for numbers in _passes(texts, batch_size):
        rows, lasts = [ids(texts[i]) for i in numbers], [ends[i] for i in numbers]
        # The cache keeps what all these texts begin with, but no position whose state is wanted.
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
    """Yield the numbers of the texts of each pass, in sorted order."""
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
    """Return the tokens of sorted rows after the first `kept`, shared ones once, (T,), and for each
    row the positions of its tokens among them, (row length - kept,).
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
    """Return the attention mask of `count` tokens, bool (T, kept + T), and the position of each in
    its text, (T,).
    """
    mask = torch.zeros(count, kept + count, dtype=torch.bool)
    mask[:, :kept] = True
    places = torch.zeros(count, dtype=torch.long)
    for path in paths:
        mask[path[:, None], kept + path] = torch.ones(len(path), len(path)).tril().bool()
        places[path] = torch.arange(kept, kept + len(path))
    return mask, places


def _shared(first: Text, second: Text) -> int:
    """Return how many ids two texts share at their beginning."""
    return _same(np.frombuffer(first, ">u4"), np.frombuffer(second, ">u4"))


def _same(first: Ids, second: Ids) -> int:
    n = min(len(first), len(second))
    other = first[:n] != second[:n]
    return int(other.argmax()) if other.any() else n
