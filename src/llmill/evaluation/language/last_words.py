"""The last word of a document, to be guessed from all that stands before it (LAMBADA's form,
Paperno et al. 2016).

A document ends in a word behind a space, and marks; the marks are left out. What is longer than a
word can be is none: a sentence in a script without spaces, or packed bytes. The guess is right if
the likeliest tokens, one after the other, are those of the word. Beside it stand the same model's
guess from the few words just before, and a bigram's: what they get needs no document.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmill.evaluation.inference.scoring import Progress, continuations, in_silence
from llmill.evaluation.inference.writing import greedy
from llmill.evaluation.language.bits_per_byte import LARGEST
from llmill.evaluation.matching.exact_match import OUTER
from llmill.evaluation.statistics import intervals
from llmill.evaluation.statistics.intervals import Draws, Interval
from llmill.model.transformer import Transformer
from llmill.text.tokenization.tokenizer import Tokenizer

NEAR = 3  # words just before the last one
LONGEST = 40  # characters of a word


@dataclass(frozen=True)
class LastWord:
    """A document without its last word, and the word."""

    before: str
    word: str

    @property
    def near(self) -> str:
        """The few words just before."""
        return " ".join(self.before.split()[-NEAR:])


@dataclass(frozen=True)
class Guess:
    """What a model takes for the last word, whether it is, and the word's log-probability."""

    text: str
    right: bool
    logprob: float


def last_word(document: str) -> LastWord | None:
    """None of a document that does not end in a word behind a space and other words."""
    before, _, word = document.rstrip(OUTER).rpartition(" ")
    plain = word[:1].isalnum() and not any(character.isspace() for character in word)
    plain = plain and len(word) <= LONGEST
    return LastWord(before, word) if plain and before and before == before.rstrip() else None


def guesses(
    model: Transformer,
    tokenizer: Tokenizer,
    shown: Sequence[tuple[str, str]],
    batch_size: int,
    progress: Progress = in_silence,
) -> list[Guess]:
    """The guess of the word behind each text; of a text that is too long the end is read."""
    pairs = [
        ([tokenizer.end_of_text, *tokenizer.encode(a)], word_ids(tokenizer, b)) for a, b in shown
    ]
    scores = continuations(model, pairs, batch_size, progress)
    # What is right was said. What else was said is written from as much text as was scored.
    wrong = [pair for pair, score in zip(pairs, scores, strict=True) if not score.greedy]
    window = model.config.block_size + 1  # the last token is read by none
    prompts = [ids[-max(1, window - len(word)) :] for ids, word in wrong]
    longest = max((len(word) for _, word in wrong), default=0)
    written = iter(greedy(model, tokenizer, prompts, longest))
    found: list[Guess] = []
    for (_, word), score in zip(pairs, scores, strict=True):
        said = word if score.greedy else next(written)[: len(word)]
        found.append(Guess(tokenizer.decode(said).strip(), score.greedy, score.logprob))
    return found


def word_ids(tokenizer: Tokenizer, word: str) -> list[int]:
    """The tokens of a word behind a space."""
    return tokenizer.encode(f" {word}")


def figures(guesses: Sequence[Guess], draws: Draws) -> dict[str, Any]:
    """The share right and the perplexity of a word."""
    right = sum(each.right for each in guesses)
    return {
        "accuracy": intervals.share(right, len(guesses), draws["confidence"]),
        "perplexity": perplexity([each.logprob for each in guesses], draws),
    }


def perplexity(logprobs: Sequence[float], draws: Draws) -> Interval | None:
    """By the mean log-probability of a word, in nats; None of no words, and beyond all floats."""
    if not logprobs:
        return None
    nats = intervals.bootstrap(lambda each: -float(each.mean()), [logprobs], **draws)
    value, low, high = nats["value"], nats["low"], nats["high"]
    if max(value, low, high) >= LARGEST:
        return None
    return {**nats, "value": math.exp(value), "low": math.exp(low), "high": math.exp(high)}
