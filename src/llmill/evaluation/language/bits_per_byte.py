"""Bits that a model needs for a byte of a text: a figure that compares across tokenizers.

A text is read in windows that overlap by half: what does not fit into one is scored in stretches of
half a window, each behind as much of the text before it as fits, so a token has at least half a
window before it, where the text has. Beside it stands what gzip needs, which knows no language.
"""

import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmill.evaluation.inference.scoring import Ids, Progress, continuation_logprobs, in_silence
from llmill.evaluation.statistics import intervals
from llmill.evaluation.statistics.intervals import Draws, Interval
from llmill.model.transformer import Transformer

LARGEST = 700.0  # nats of which a float holds the exponential


@dataclass(frozen=True)
class TextLoss:
    """A text's size, and its negative log-probability under a model, in nats."""

    nats: float
    tokens: int
    n_bytes: int
    words: int


def text_loss(text: str, nats: float, tokens: int, words: int | None = None) -> TextLoss:
    """A text; its words are what stands between white space, unless they were counted."""
    n = len(text.split()) if words is None else words
    return TextLoss(nats, tokens, len(text.encode(errors="replace")), n)


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


def of(texts: Sequence[TextLoss], draws: Draws) -> Interval | None:
    """Bits per byte of these texts together, with an interval over texts; None of no bytes."""
    told = [each for each in texts if each.n_bytes]
    if not told:
        return None
    return intervals.bootstrap(
        lambda cost, size: float(cost.sum() / size.sum()),
        [[each.nats / math.log(2) for each in told], [each.n_bytes for each in told]],
        **draws,
    )


def nats_per_token(texts: Sequence[TextLoss]) -> float:
    """Of these texts together."""
    return sum(each.nats for each in texts) / max(1, sum(each.tokens for each in texts))


def word_perplexity(texts: Sequence[TextLoss]) -> float | None:
    """By the nats of a word of these texts together; None of no words, and beyond all floats."""
    words = sum(each.words for each in texts)
    each_word = sum(each.nats for each in texts) / words if words else math.inf
    return math.exp(each_word) if each_word < LARGEST else None


def of_gzip(texts: Sequence[str]) -> float:
    """Bits per byte of the texts as gzip packs them together, at its best."""
    content = "\n".join(texts).encode(errors="replace")
    return 8 * len(gzip.compress(content, 9, mtime=0)) / max(1, len(content))


def figures(
    texts: Sequence[str], told: Sequence[TextLoss], counted: Sequence[TextLoss], draws: Draws
) -> dict[str, Any]:
    """Of texts, a model's scores of them, and those of a unigram."""
    return {
        "all": of(told, draws),
        "unigram": of(counted, draws),
        "gzip": of_gzip(texts),
        "nats_per_token": nats_per_token(told),
        "word_perplexity": word_perplexity(told),
        "bytes": sum(each.n_bytes for each in told),
        "tokens": sum(each.tokens for each in told),
    }
