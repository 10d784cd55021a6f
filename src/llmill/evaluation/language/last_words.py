"""Predict the last word of a document from all the text before it (the form of LAMBADA, Paperno et
al. 2016).

A document must end in a space, a word and optional punctuation, which is left out. A longer string
is not a word: it may be a sentence in a script without spaces, or packed bytes. The guess is right
if greedy decoding gives the tokens of the word. Two baselines need no document: the same model's
guess from only the few words just before, and a bigram's guess.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmill.contract.progress import Progress, in_silence
from llmill.evaluation.inference.scoring import continuations
from llmill.evaluation.inference.writing import greedy
from llmill.evaluation.language.bits_per_byte import LARGEST
from llmill.evaluation.statistics import intervals
from llmill.evaluation.statistics.intervals import Draws, Interval
from llmill.model.transformer import Transformer
from llmill.text.normal import OUTER
from llmill.text.tokenization.tokenizer import Tokenizer

NEAR = 3  # words of context for the model's baseline
LONGEST = 40  # most characters of a word


@dataclass(frozen=True)
class LastWord:
    """A document without its last word, and the word."""

    before: str
    word: str

    @property
    def near(self) -> str:
        """The few words just before the last one."""
        return " ".join(self.before.split()[-NEAR:])


@dataclass(frozen=True)
class Guess:
    """A model's guess of the last word, whether it is right, and the word's log-likelihood."""

    text: str
    right: bool
    logprob: float


def last_word(document: str) -> LastWord | None:
    """Split off the last word; None if the document does not end in other words, a space and a
    word.
    """
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
    """Guess the word after each text of (text, word); only the end of a long text is read."""
    pairs = [
        ([tokenizer.end_of_text, *tokenizer.encode(a)], word_ids(tokenizer, b)) for a, b in shown
    ]
    scores = continuations(model, pairs, batch_size, progress)
    # A right guess is the word itself. Only wrong ones are generated, from the context scored.
    wrong = [pair for pair, score in zip(pairs, scores, strict=True) if not score.greedy]
    window = model.config.block_size + 1  # the last token is not an input
    prompts = [ids[-max(1, window - len(word)) :] for ids, word in wrong]
    longest = max((len(word) for _, word in wrong), default=0)
    written = iter(greedy(model, tokenizer, prompts, longest))
    found: list[Guess] = []
    for (_, word), score in zip(pairs, scores, strict=True):
        said = word if score.greedy else next(written)[: len(word)]
        found.append(Guess(tokenizer.decode(said).strip(), score.greedy, score.logprob))
    return found


def word_ids(tokenizer: Tokenizer, word: str) -> list[int]:
    """Return the tokens of a word after a space."""
    return tokenizer.encode(f" {word}")


def figures(guesses: Sequence[Guess], draws: Draws) -> dict[str, Any]:
    """Return the accuracy, and the perplexity per word."""
    right = sum(each.right for each in guesses)
    return {
        "accuracy": intervals.share(right, len(guesses), draws["confidence"]),
        "perplexity": perplexity([each.logprob for each in guesses], draws),
    }


def perplexity(logprobs: Sequence[float], draws: Draws) -> Interval | None:
    """Return exp(-mean log-likelihood of a word); None without words or if it overflows a float."""
    if not logprobs:
        return None
    nats = intervals.bootstrap(lambda each: -float(each.mean()), [logprobs], **draws)
    value, low, high = nats["value"], nats["low"], nats["high"]
    if max(value, low, high) >= LARGEST:
        return None
    return {**nats, "value": math.exp(value), "low": math.exp(low), "high": math.exp(high)}
