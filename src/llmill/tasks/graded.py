"""Responses whose score is known by how they were made, for teaching and measuring the embedded
judge.

In: instructions with references (and, where the data offers them, paraphrases and wrong answers),
and texts that have nothing to do with them. Out: for each instruction, some responses with their
kind and known score in [0, 1].
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from llmill.tasks.instruction import Instruction

SCORES = {
    "reference": 1.0,
    "paraphrase": 1.0,
    "half": 0.5,  # the first half of a longer reference
    "wrong": 0.25,  # fluent, of the right form, and false
    "other": 0.1,  # the reference of another instruction
    "noise": 0.0,  # words of any references, in no order
    "passage": 0.0,  # of a text that the foundation model learns from: fluent, and no answer
}
CONSTANT = "It is true."
PASSAGE = (40, 200)  # characters, where the text does not end before
BEGINNING = re.compile(r"(?:^|(?<=[.!?]\s)|(?<=\n))\S")  # of a text, a sentence or a line


@dataclass(frozen=True)
class Graded:
    """One response to an instruction, and what it is worth."""

    entry: Instruction
    kind: str
    answer: str
    score: float


@dataclass(frozen=True)
class Stock:
    """What responses are made from."""

    entries: list[Instruction]
    words: list[str]
    texts: list[str]


def probes(entries: list[Instruction]) -> dict[str, list[Graded]]:
    """By name, answers to every entry that look at none: what a judge gives to them says what its
    scores are worth beside what it gives to the references. Their known score is that of noise.

    `another` is the reference of the next entry of the same kind that has another one.
    """
    answers = {
        "reference": [entry.output for entry in entries],
        "another": [_of_another(entries, number) for number in range(len(entries))],
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


def _of_another(entries: list[Instruction], number: int) -> str:
    entry, after = entries[number], entries[number + 1 :] + entries[:number]
    others = [e for e in after if e.output != entry.output]
    alike = [e for e in others if e.kind == entry.kind]
    return next((e.output for e in alike or others), "")


def graded(entries: list[Instruction], texts: list[str], responses: int, seed: int) -> list[Graded]:
    """The reference and up to `responses - 1` others of each entry, by kinds in turn so that all
    are alike common.

    Words and other answers come from `entries` themselves, passages from `texts`, so a held-out
    split uses nothing of the training split.
    """
    rng = random.Random(seed)
    words = sorted({word for entry in entries for word in entry.output.split()})
    stock = Stock(entries, words, texts)
    rows = []
    for entry in entries:
        kinds = [k for k in MAKERS if k != "reference"]
        rng.shuffle(kinds)
        answers = {"reference": entry.output}
        for kind in kinds:
            if len(answers) < responses and (answer := MAKERS[kind](entry, stock, rng)):
                answers[kind] = answer
        rows += [Graded(entry, k, answer, SCORES[k]) for k, answer in answers.items()]
    return rows


def _reference(entry: Instruction, stock: Stock, rng: random.Random) -> str:
    return entry.output


def _paraphrase(entry: Instruction, stock: Stock, rng: random.Random) -> str:
    return rng.choice(entry.paraphrases) if entry.paraphrases else ""


def _half(entry: Instruction, stock: Stock, rng: random.Random) -> str:
    parts = entry.output.split()
    return " ".join(parts[: len(parts) // 2]) if len(parts) >= 4 else ""


def _wrong(entry: Instruction, stock: Stock, rng: random.Random) -> str:
    """One of the data's wrong answers, else the reference with a longer word exchanged."""
    if entry.wrong:
        return rng.choice(entry.wrong)
    parts = entry.output.split()
    places = [i for i, word in enumerate(parts) if len(word) > 3 or word[:1].isdigit()]
    if not places:
        return ""
    place = rng.choice(places)
    return " ".join([*parts[:place], _another(parts[place], stock.words, rng), *parts[place + 1 :]])


def _other(entry: Instruction, stock: Stock, rng: random.Random) -> str:
    right = {entry.output, *entry.paraphrases}
    output = rng.choice(stock.entries).output
    return "" if output in right else output


def _noise(entry: Instruction, stock: Stock, rng: random.Random) -> str:
    return " ".join(rng.choices(stock.words, k=max(3, len(entry.output.split()))))


def _passage(entry: Instruction, stock: Stock, rng: random.Random) -> str:
    if not stock.texts:
        return ""
    text = rng.choice(stock.texts)
    start = rng.choice([match.start() for match in BEGINNING.finditer(text)] or [0])
    return text[start : start + rng.randint(*PASSAGE)].strip()


def _another(word: str, words: list[str], rng: random.Random) -> str:
    other = rng.choice(words)
    return other if other != word else words[(words.index(word) + 1) % len(words)]


Maker = Callable[[Instruction, Stock, random.Random], str]
MAKERS: dict[str, Maker] = {
    "reference": _reference,
    "paraphrase": _paraphrase,
    "half": _half,
    "wrong": _wrong,
    "other": _other,
    "noise": _noise,
    "passage": _passage,
}
