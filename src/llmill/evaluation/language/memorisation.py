"""How much of its training text a model says by heart: windows that it goes on with greedily
(Carlini et al. 2022), of the training text and of held-out text.

What it reproduces of held-out text it did not learn by heart: text that repeats itself is known, as
far as it does. So the difference of the two is memorisation.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from llmill.evaluation.inference.scoring import Progress, in_silence
from llmill.evaluation.inference.writing import greedy
from llmill.evaluation.statistics import intervals
from llmill.evaluation.statistics.intervals import Draws
from llmill.model.transformer import Transformer
from llmill.text.tokenization.shards import Shards
from llmill.text.tokenization.tokenizer import Tokenizer


def windows(shards: Shards, length: int, count: int, seed: int) -> list[list[int]]:
    """So many windows of `length` tokens, or fewer: one of each of some documents, at a place that
    is drawn, as is the document. They hold no <|endoftext|>.
    """
    begins = np.concatenate(([0], shards.ends[:-1])).astype(np.int64)
    free = shards.ends - 1 - begins - length  # places after the first where a window fits
    rng = np.random.default_rng(seed)
    fit = np.flatnonzero(free >= 0)
    chosen = rng.choice(fit, min(count, len(fit)), replace=False)
    places = begins[chosen] + rng.integers(0, free[chosen] + 1)
    return [shards.window(int(place), length).tolist() for place in places]


def reproduced(
    model: Transformer,
    tokenizer: Tokenizer,
    texts: Sequence[list[int]],
    prompt: int,
    progress: Progress = in_silence,
) -> list[float]:
    """The share of each window's tokens behind the first `prompt` that the model writes at their
    places, greedily.
    """
    longest = max(map(len, texts), default=prompt) - prompt
    written = greedy(model, tokenizer, [ids[:prompt] for ids in texts], longest, progress)
    return [
        sum(a == b for a, b in zip(ids[prompt:], said, strict=False)) / (len(ids) - prompt)
        for ids, said in zip(texts, written, strict=True)
    ]


def figures(
    training: Sequence[float], held_out: Sequence[float], draws: Draws
) -> dict[str, dict[str, Any]]:
    """The share of windows that were reproduced to the last token, and the mean share of tokens, of
    both texts; and their difference.
    """

    def of(shares: Sequence[float]) -> dict[str, Any]:
        whole = intervals.share(shares.count(1.0), len(shares), draws["confidence"])
        return {
            "whole": whole,
            "tokens": intervals.bounded_mean(shares, 1, draws["confidence"]) if shares else None,
        }

    found: dict[str, dict[str, Any]] = {"training": of(training), "held_out": of(held_out)}
    found["difference"] = {
        name: intervals.difference(found["training"][name], found["held_out"][name])
        if training and held_out
        else None
        for name in ("whole", "tokens")
    }
    return found
