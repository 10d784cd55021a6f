"""Bits per byte: a metric that you can compare across tokenizers.

A text longer than the window is scored in stretches of half a window, each after as much of the
preceding text as fits. Therefore every token has at least half a window of context, if the text has
so much before it. The baseline is gzip, which knows nothing about language.
"""

import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmill.contract.progress import Progress, in_silence
from llmill.evaluation.inference.scoring import Ids, continuation_logprobs
from llmill.evaluation.statistics import intervals
from llmill.evaluation.statistics.intervals import Draws, Interval
from llmill.model.transformer import Transformer

LARGEST = 700.0  # nats; exp of more would overflow a float


@dataclass(frozen=True)
class TextLoss:
    """A text's size, and its negative log-likelihood under a model, in nats."""

    nats: float
    tokens: int
    n_bytes: int
    words: int


def text_loss(text: str, nats: float, tokens: int, words: int | None = None) -> TextLoss:
    """Return the loss and sizes of a text. By default, words are what white space separates."""
    n = len(text.split()) if words is None else words
    return TextLoss(nats, tokens, len(text.encode(errors="replace")), n)


def nats(
    model: Transformer,
    texts: Sequence[Ids],
    window: int,
    batch_size: int,
    progress: Progress = in_silence,
) -> list[float]:
    """Return each text's negative log-likelihood in nats, over all ids but the first, which is
    context only.
    """
    if window > model.config.block_size:
        raise ValueError(f"a window of {window} in a context of {model.config.block_size}")
    parts = [(i, part) for i, ids in enumerate(texts) for part in stretches(ids, window)]
    found = continuation_logprobs(model, [part for _, part in parts], batch_size, progress)
    sums = [0.0] * len(texts)
    for (i, _), value in zip(parts, found, strict=True):
        sums[i] -= value
    return sums


def stretches(ids: Ids, window: int) -> list[tuple[Ids, Ids]]:
    """Split a text into (context, scored ids) for one pass each; the first id is context only."""
    step = window if len(ids) <= window + 1 else max(1, window // 2)
    return [
        # The last scored token is not an input, so context and scored ids are up to window + 1.
        (ids[max(0, min(begin + step, len(ids)) - 1 - window) : begin], ids[begin : begin + step])
        for begin in range(1, len(ids), step)
    ]


def of(texts: Sequence[TextLoss], draws: Draws) -> Interval | None:
    """Return bits per byte over all texts, with an interval over texts; None without bytes."""
    told = [each for each in texts if each.n_bytes]
    if not told:
        return None
    return intervals.bootstrap(
        lambda cost, size: float(cost.sum() / size.sum()),
        [[each.nats / math.log(2) for each in told], [each.n_bytes for each in told]],
        **draws,
    )


def nats_per_token(texts: Sequence[TextLoss]) -> float:
    """Return the loss per token over all texts, in nats."""
    return sum(each.nats for each in texts) / max(1, sum(each.tokens for each in texts))


def word_perplexity(texts: Sequence[TextLoss]) -> float | None:
    """Return exp(nats per word) over all texts; None without words or if it overflows a float."""
    words = sum(each.words for each in texts)
    each_word = sum(each.nats for each in texts) / words if words else math.inf
    return math.exp(each_word) if each_word < LARGEST else None


def of_gzip(texts: Sequence[str]) -> float:
    """Return the bits per byte of gzip at its best level, on all texts joined."""
    content = "\n".join(texts).encode(errors="replace")
    return 8 * len(gzip.compress(content, 9, mtime=0)) / max(1, len(content))


def figures(
    texts: Sequence[str], told: Sequence[TextLoss], counted: Sequence[TextLoss], draws: Draws
) -> dict[str, Any]:
    """Return the metrics of texts from a model's losses `told` and a unigram's losses `counted`."""
    return {
        "all": of(told, draws),
        "unigram": of(counted, draws),
        "gzip": of_gzip(texts),
        "nats_per_token": nats_per_token(told),
        "word_perplexity": word_perplexity(told),
        "bytes": sum(each.n_bytes for each in told),
        "tokens": sum(each.tokens for each in told),
    }
