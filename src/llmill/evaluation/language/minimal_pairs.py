"""Minimal pairs: does a model give the right sentence a higher likelihood than one with an error?

The score is the log-likelihood of the whole sentence at the beginning of a document. Two baselines
need no grammar: the sentence with fewer tokens, and the one that a unigram finds more likely.
"""

import re
from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass
from typing import Any

from llmill.contract.progress import Progress, in_silence
from llmill.evaluation.inference.scoring import continuation_logprobs
from llmill.evaluation.language.ngrams import Unigram, stretches
from llmill.evaluation.statistics import intervals
from llmill.model.transformer import Transformer
from llmill.text.tokenization.shards import Shards
from llmill.text.tokenization.tokenizer import Tokenizer

Pair = tuple[str, str]  # (right sentence, wrong sentence)
BETWEEN = re.compile(r"(?<=[.?!])\s+|\n+")  # separates sentences
LONGEST = 100  # most tokens of a sentence that is searched for


@dataclass(frozen=True)
class Preferred:
    """1 if the right sentence is preferred, 0 if the wrong one is, 0.5 if neither is."""

    model: float
    unigram: float
    shorter: float


def preferences(
    model: Transformer,
    tokenizer: Tokenizer,
    pairs: Sequence[Pair],
    unigram: Unigram,
    batch_size: int,
    progress: Progress = in_silence,
) -> list[Preferred]:
    """Return which sentence of each pair the model, the unigram and the length prefer."""
    ids = [tokenizer.encode(sentence) for pair in pairs for sentence in pair]
    requests = [([tokenizer.end_of_text], each) for each in ids]
    found = continuation_logprobs(model, requests, batch_size, progress)
    return [
        Preferred(
            _above(found[i], found[i + 1]),
            _above(unigram.logprob(ids[i]), unigram.logprob(ids[i + 1])),
            _above(len(ids[i + 1]), len(ids[i])),
        )
        for i in range(0, len(ids), 2)
    ]


def sentences_in(shards: Shards, tokenizer: Tokenizer, wanted: Set[str]) -> set[str]:
    """Return which of the wanted sentences occur in a text, as whole sentences."""
    found: set[str] = set()
    for tokens in stretches(shards, overlap=LONGEST):
        text = tokenizer.decode(tokens.tolist()).replace(tokenizer.end_name, "\n")
        found |= wanted & set(BETWEEN.split(text))
    return found


def figures(
    phenomena: Sequence[str], told: Sequence[Preferred], confidence: float
) -> dict[str, Any]:
    """Return the share of pairs in which each prefers the right sentence, by phenomenon, and the
    means over phenomena, which weigh the same. Without pairs, the means are None.
    """
    of_phenomenon: dict[str, list[dict[str, float]]] = {}
    for phenomenon, preference in zip(phenomena, told, strict=True):
        of_phenomenon.setdefault(phenomenon, []).append(asdict(preference))
    shares = {
        phenomenon: {
            who: intervals.share(sum(row[who] for row in rows), len(rows), confidence)
            for who in rows[0]
        }
        for phenomenon, rows in of_phenomenon.items()
    }
    means = {
        who: intervals.mean_of_shares([each[who] for each in shares.values()]) if shares else None
        for who in ("model", "unigram", "shorter")
    }
    return {**means, "phenomena": shares}


def _above(a: float, b: float) -> float:
    return 0.5 if a == b else float(a > b)
