"""Responses whose score is known from how they were made, to train and measure the embedded judge.

Input: instructions with references (and paraphrases and wrong answers, where the data has them),
and unrelated texts. Output: for each instruction, several responses with their kind and known score
in [0, 1].
"""

import random
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, zip_longest

from llmill.tasks.instruction import Instruction
from llmill.text.normal import normalise

SCORES = {
    "reference": 1.0,
    "paraphrase": 1.0,
    "half": 0.0,  # the first half of a longer reference
    "wrong": 0.0,  # fluent, of the right form, and false
    "another": 0.0,  # a right answer to another instruction of the same kind
    "other": 0.0,  # a right answer to any other instruction
    "noise": 0.0,  # words of any references, in random order
    "passage": 0.0,  # from a text that the foundation model learns from: fluent, but not an answer
    "constant": 0.0,  # an answer that could be given to any question
    "empty": 0.0,
}
CONSTANTS = (
    "Yes.",
    "No.",
    "I do not know.",
    "This is a good question.",
    "It is not true.",
    "That is right.",
    "It is the answer.",
    "It depends.",
    "Nothing.",
    "It was good.",
    "Here is the answer.",
)
CONSTANT = "It is true."  # never used for training
CLOSE = ("paraphrase", "wrong", "another")  # close to the reference in form: the hardest to judge
PASSAGE = (40, 200)  # characters, fewer if the text ends earlier
BEGINNING = re.compile(r"(?:^|(?<=[.!?]\s)|(?<=\n))\S")  # the first of a text, a sentence or a line


@dataclass(frozen=True)
class Graded:
    """One response to an instruction, and its known score."""

    entry: Instruction
    kind: str
    answer: str
    score: float


@dataclass(frozen=True)
class Stock:
    """The material that responses are made from."""

    entries: list[Instruction]
    words: list[str]
    texts: list[str]
    of_kind: dict[str | None, list[Instruction]]


def probes(entries: list[Instruction]) -> dict[str, list[Graded]]:
    """Return several answers to every entry, by name: its reference, and answers that ignore the
    entry.

    The scores that a judge gives to the latter, beside those of the references, show what its
    scores are worth. Answers that ignore the entry have the known score of noise.

    `another` is the reference of the next entry of the same kind that has a different one.
    """
    answers = {
        "reference": [entry.output for entry in entries],
        "another": _of_others(entries),
        "constant": [CONSTANT] * len(entries),
        "empty": [""] * len(entries),
    }
    return {
        name: [
            Graded(entry, name, answer, SCORES.get(name, 0.0))
            for entry, answer in zip(entries, texts, strict=True)
        ]
        for name, texts in answers.items()
    }


def _of_others(entries: list[Instruction]) -> list[str]:
    by_kind: dict[str | None, list[int]] = defaultdict(list)
    for number, entry in enumerate(entries):
        by_kind[entry.kind].append(number)
    outputs = [entry.output for entry in entries]
    of_any = _next_others(outputs)
    others = list(of_any)
    for numbers in by_kind.values():
        of_kind = _next_others([outputs[number] for number in numbers])
        for number, other in zip(numbers, of_kind, strict=True):
            others[number] = of_any[number] if other is None else other
    return ["" if other is None else other for other in others]


def _next_others(outputs: list[str]) -> list[str | None]:
    """Return for each output the next different one, cyclically; None if all are the same."""
    others: list[str | None] = [None] * len(outputs)
    for at in reversed(range(2 * len(outputs) - 1)):
        here, after = at % len(outputs), (at + 1) % len(outputs)
        others[here] = outputs[after] if outputs[after] != outputs[here] else others[after]
    return others


def graded(entries: list[Instruction], texts: list[str], responses: int, seed: int) -> list[Graded]:
    """Return the reference and up to `responses - 1` other responses for each entry.

    These are alternately close to the reference and not close to it, of kinds drawn at random.
    Words and other answers come from `entries`, and passages from `texts`, so a held-out split uses
    nothing from the training split.
    """
    rng = random.Random(seed)
    words = sorted({word for entry in entries for word in entry.output.split()})
    of_kind: dict[str | None, list[Instruction]] = defaultdict(list)
    for entry in entries:
        of_kind[entry.kind].append(entry)
    stock = Stock(entries, words, texts, of_kind)
    rows = []
    for entry in entries:
        close, far = list(CLOSE), [k for k in MAKERS if k not in ("reference", *CLOSE)]
        rng.shuffle(close)
        rng.shuffle(far)
        answers = {"reference": entry.output}
        for kind in filter(None, chain.from_iterable(zip_longest(close, far))):
            if len(answers) < responses:
                answer = MAKERS[kind](entry, stock, rng)
                if answer is not None:
                    answers[kind] = answer
        rows += [Graded(entry, k, answer, SCORES[k]) for k, answer in answers.items()]
    return rows


def _reference(entry: Instruction, stock: Stock, rng: random.Random) -> str | None:
    return entry.output


def _paraphrase(entry: Instruction, stock: Stock, rng: random.Random) -> str | None:
    return rng.choice(entry.paraphrases) if entry.paraphrases else None


def _half(entry: Instruction, stock: Stock, rng: random.Random) -> str | None:
    parts = entry.output.split()
    return " ".join(parts[: len(parts) // 2]) if len(parts) >= 4 else None


def _wrong(entry: Instruction, stock: Stock, rng: random.Random) -> str | None:
    """Return one of the data's wrong answers, or the reference with one longer word exchanged."""
    if entry.wrong:
        return rng.choice(entry.wrong)
    parts = entry.output.split()
    places = [i for i, word in enumerate(parts) if len(word) > 3 or word[:1].isdigit()]
    if not places:
        return None
    place = rng.choice(places)
    changed = _another(parts[place], stock.words, rng)
    return _unless_right(entry, " ".join([*parts[:place], changed, *parts[place + 1 :]]))


def _other(entry: Instruction, stock: Stock, rng: random.Random) -> str | None:
    return _right_for_another(entry, stock.entries, rng)


def _same_kind(entry: Instruction, stock: Stock, rng: random.Random) -> str | None:
    return _right_for_another(entry, stock.of_kind[entry.kind], rng)


def _constant(entry: Instruction, stock: Stock, rng: random.Random) -> str | None:
    return _unless_right(entry, rng.choice(CONSTANTS))


def _empty(entry: Instruction, stock: Stock, rng: random.Random) -> str | None:
    return ""


def _noise(entry: Instruction, stock: Stock, rng: random.Random) -> str | None:
    return " ".join(rng.choices(stock.words, k=max(3, len(entry.output.split()))))


def _passage(entry: Instruction, stock: Stock, rng: random.Random) -> str | None:
    if not stock.texts:
        return None
    text = rng.choice(stock.texts)
    start = rng.choice([match.start() for match in BEGINNING.finditer(text)] or [0])
    return text[start : start + rng.randint(*PASSAGE)].strip()


def _right_for_another(
    entry: Instruction, others: list[Instruction], rng: random.Random
) -> str | None:
    """Return the reference of another instruction, or one of its paraphrases: if the form of a
    paraphrase occurred only in right answers, a judge would learn the form instead of the meaning.
    """
    other = rng.choice(others)
    return _unless_right(entry, rng.choice([other.output, *other.paraphrases]))


def _unless_right(entry: Instruction, answer: str) -> str | None:
    """Return an answer meant to be wrong, or None if exact match would count it as right."""
    right = {normalise(each) for each in (entry.output, *entry.paraphrases)}
    return None if normalise(answer) in right else answer


def _another(word: str, words: list[str], rng: random.Random) -> str:
    other = rng.choice(words)
    return other if other != word else words[(words.index(word) + 1) % len(words)]


Maker = Callable[[Instruction, Stock, random.Random], str | None]
MAKERS: dict[str, Maker] = {
    "reference": _reference,
    "paraphrase": _paraphrase,
    "half": _half,
    "wrong": _wrong,
    "another": _same_kind,
    "other": _other,
    "noise": _noise,
    "passage": _passage,
    "constant": _constant,
    "empty": _empty,
}
