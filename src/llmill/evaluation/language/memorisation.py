"""Memorisation: how much of a window the model reproduces greedily after its beginning (Carlini et
al. 2022), for windows of the training text and of held-out text.

A model can also reproduce held-out text, where text repeats itself, without having memorised it.
Memorisation is therefore the difference between the two.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from llmill.contract.progress import Progress, in_silence
from llmill.evaluation.inference.writing import greedy
from llmill.evaluation.statistics import intervals
from llmill.evaluation.statistics.intervals import Draws
from llmill.model.transformer import Transformer
from llmill.text.tokenization.shards import Shards
from llmill.text.tokenization.tokenizer import Tokenizer


def windows(shards: Shards, length: int, count: int, seed: int) -> list[list[int]]:
    """Draw at most `count` windows of `length` tokens, each from another document, at random
    positions. A window contains no <|endoftext|>.
    """
    begins = np.concatenate(([0], shards.ends[:-1])).astype(np.int64)
    free = shards.ends - 1 - begins - length  # largest offset of a window; negative: too short
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
    """Return, for each window, the share of the tokens after the first `prompt` that greedy
    generation gives in the same position.
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
    """Return, for both texts, the share of windows that were reproduced entirely and the mean share
    of tokens; and the differences of these metrics.
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
