"""Log-probabilities of tokens, in nats, before temperature and limits."""

from dataclasses import dataclass

import torch
from torch import Tensor

from llmill.model.transformer import Transformer

POSITIONS = 64  # whose logits are held at once


@dataclass(frozen=True)
class Score:
    """A token's log-probability, and the likeliest tokens in its place with theirs."""

    token: int
    logprob: float | None  # None: nothing stands before it
    likeliest: tuple[tuple[int, float], ...] = ()


def score(logits: Tensor, token: int, top: int) -> Score:
    """Of a token under logits, (V,)."""
    return _scores(logits[None], [token], top)[0]


def scores(model: Transformer, hidden: Tensor, tokens: list[int], top: int) -> list[Score]:
    """Of each token after its row of the stream, (T, C)."""
    values = []
    for start in range(0, len(tokens), POSITIONS):
        logits = model.head(hidden[start : start + POSITIONS]).cpu()
        values += _scores(logits, tokens[start : start + POSITIONS], top)
    return values


def _scores(logits: Tensor, tokens: list[int], top: int) -> list[Score]:
    """Of a token for each row of logits, (N, V)."""
    logprobs = logits.double().log_softmax(dim=-1)
    own = logprobs.gather(1, torch.tensor(tokens)[:, None])[:, 0].tolist()
    best = logprobs.topk(min(top, logprobs.size(1)), dim=-1)
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [
        Score(token, logprob, tuple(zip(*pair, strict=True)))
        for token, logprob, pair in zip(tokens, own, pairs, strict=True)
    ]
