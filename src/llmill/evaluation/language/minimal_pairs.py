"""Which of two sentences a model finds likelier: the right one, or one that is wrong in one thing.

A sentence is scored whole, at the beginning of a document, by the sum of its tokens'
log-probabilities. Beside it stands what needs no grammar: the sentence of fewer tokens, and the one
that a unigram finds likelier.
"""

import re
from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass
from typing import Any

from llmill.evaluation.inference.scoring import Progress, continuation_logprobs, in_silence
from llmill.evaluation.language.ngrams import Unigram, stretches
from llmill.evaluation.statistics import intervals
from llmill.model.transformer import Transformer
from llmill.text.tokenization.shards import Shards
from llmill.text.tokenization.tokenizer import Tokenizer

Pair = tuple[str, str]  # the right sentence, the wrong one
BETWEEN = re.compile(r"(?<=[.?!])\s+|\n+")  # sentences
LONGEST = 100  # tokens of a sentence that is looked for


@dataclass(frozen=True)
class Preference:
    """1 where the right sentence is preferred, 0 where the wrong one, 0.5 where neither."""

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
) -> list[Preference]:
    """What the model, the length and the unigram say of each pair."""
    ids = [tokenizer.encode(sentence) for pair in pairs for sentence in pair]
    requests = [([tokenizer.end_of_text], each) for each in ids]
    found = continuation_logprobs(model, requests, batch_size, progress)
    return [
        Preference(
            _above(found[i], found[i + 1]),
            _above(unigram.logprob(ids[i]), unigram.logprob(ids[i + 1])),
            _above(len(ids[i + 1]), len(ids[i])),
        )
        for i in range(0, len(ids), 2)
    ]


def sentences_in(shards: Shards, tokenizer: Tokenizer, wanted: Set[str]) -> set[str]:
    """Which of these sentences stand in a text, as sentences of their own."""
    found: set[str] = set()
    for tokens in stretches(shards, overlap=LONGEST):
        text = tokenizer.decode(tokens.tolist()).replace(tokenizer.end_name, "\n")
        found |= wanted & set(BETWEEN.split(text))
    return found


def figures(
    phenomena: Sequence[str], told: Sequence[Preference], confidence: float
) -> dict[str, Any]:
    """The share of right sentences that each prefers, by phenomenon of the pairs; and the means,
    in which each phenomenon weighs the same. No pairs have no means.
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
