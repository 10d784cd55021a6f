"""Bits that a model needs for a byte of a text: a figure that compares across tokenizers.

A text is read in windows that overlap by half: what does not fit into one is scored in stretches of
half a window, each behind as much of the text before it as fits, so a token has at least half a
window before it, where the text has. Beside it stands what gzip needs, which knows no language.
"""

import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmill.evaluation import statistics
from llmill.evaluation.scoring import Ids, Progress, continuation_logprobs, in_silence
from llmill.evaluation.statistics import Draws, Interval
from llmill.model.transformer import Transformer


@dataclass(frozen=True)
class Scored:
    """A text's size, and its negative log-probability under a model, in nats."""

    nats: float
    tokens: int
    n_bytes: int
    words: int


def nats(
    model: Transformer,
    texts: Sequence[Ids],
    window: int,
    batch_size: int,
    progress: Progress = in_silence,
) -> list[float]:
    """The negative log-probability of each text's ids but the first, which it begins behind."""
    if window > model.config.block_size:
        raise ValueError(f"a window of {window} in a context of {model.config.block_size}")
    parts = [(i, part) for i, ids in enumerate(texts) for part in stretches(ids, window)]
    found = continuation_logprobs(model, [part for _, part in parts], batch_size, progress)
    sums = [0.0] * len(texts)
    for (i, _), value in zip(parts, found, strict=True):
        sums[i] -= value
    return sums


def stretches(ids: Ids, window: int) -> list[tuple[Ids, Ids]]:
    """What is scored of a text in one pass, each stretch behind what the model reads before it."""
    step = window if len(ids) <= window + 1 else max(1, window // 2)
    return [
        # Of what is scored the model reads all but the last token.
        (ids[max(0, min(begin + step, len(ids)) - 1 - window) : begin], ids[begin : begin + step])
        for begin in range(1, len(ids), step)
    ]


def of(scored: Sequence[Scored], draws: Draws) -> Interval | None:
    """Bits a byte of these texts together, with an interval over texts; None of no bytes."""
    told = [each for each in scored if each.n_bytes]
    if not told:
        return None
    return statistics.bootstrap(
        lambda cost, size: float(cost.sum() / size.sum()),
        [[each.nats / math.log(2) for each in told], [each.n_bytes for each in told]],
        **draws,
    )


def nats_per_token(scored: Sequence[Scored]) -> float:
    """Of these texts together."""
    return sum(each.nats for each in scored) / max(1, sum(each.tokens for each in scored))


def word_perplexity(scored: Sequence[Scored]) -> float:
    """By the nats of a word of these texts together."""
    each_word = sum(each.nats for each in scored) / max(1, sum(each.words for each in scored))
    return float(np.exp(each_word))  # infinite where a float is too small


def of_gzip(texts: Sequence[str]) -> float:
    """Bits a byte of the texts as gzip packs them together, at its best."""
    content = "\n".join(texts).encode()
    return 8 * len(gzip.compress(content, 9, mtime=0)) / max(1, len(content))
