"""The test items, with a right and a wrong answer if they have answers, and the training text in
parts. Stage `contamination` looks for the items in the text.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from llmill.contract import record, skipped
from llmill.tasks import classification, instruction, multiple_choice, preference
from llmill.tasks.classification import Message
from llmill.tasks.clusters import clusters_of
from llmill.tasks.instruction import Instruction
from llmill.tasks.multiple_choice import Question
from llmill.tasks.preference import Preference
from llmill.text.corpus import parquet
from llmill.text.corpus.overlap import Item, SearchedText
from llmill.text.words import split

QUESTIONS, INSTRUCTIONS, MESSAGES = "questions", "instructions", "messages"
DOCUMENTS, PREFERENCES = "documents", "preferences"
TRIED = 20  # references of other tasks that are tried as the wrong answer

Row = TypeVar("Row")


@dataclass
class Asked:
    """The test items of one kind."""

    kind: str
    items: list[Item] = field(default_factory=list)
    names: list[dict[str, Any]] = field(default_factory=list)  # describe the item to a reader
    keys: list[Hashable] = field(default_factory=list)  # identify the item in a model's results
    labels: list[tuple[str, str]] = field(default_factory=list)  # (right, wrong)
    clusters: list[Hashable] = field(default_factory=list)  # an item without one has its number

    def add(self, item: Item, key: Hashable, cluster: Hashable = None, **name: Any) -> None:
        """Add an item; `cluster` is what it shares with other items."""
        self.clusters.append(len(self.items) if cluster is None else cluster)
        self.items.append(item)
        self.names.append(name)
        self.keys.append(key)


def asked(prepared: Path, shortest: int) -> Iterator[Asked]:
    """Yield the test items of every role that has data. Each further test of messages is a kind.
    Documents are searched for a text of at least `shortest` words.
    """
    if not skipped.reason(prepared / "mmlu"):
        folder = prepared / "mmlu"
        entities = record.read_json(folder / "entities.json")
        yield of_questions(multiple_choice.read(folder / "test.jsonl"), entities)
    if not skipped.reason(prepared / "instruction"):
        yield of_instructions(instruction.read(prepared / "instruction" / "test.jsonl"), shortest)
    folder = prepared / "classification"
    if not skipped.reason(folder):
        learnt = {message.label for message in classification.read(folder / "train.jsonl")}
        yield of_messages(MESSAGES, classification.read(folder / "test.jsonl"), learnt)
        for file in sorted((folder / classification.TESTS).glob("*.jsonl")):
            yield of_messages(f"{MESSAGES}: {file.stem}", classification.read(file), learnt)


def of_questions(questions: Sequence[Question], entities: Mapping[str, str]) -> Asked:
    """Return questions with the right choice, and as the wrong answer the next choice that differs.
    Questions about the same one of `entities` share a cluster.
    """
    found = Asked(QUESTIONS)
    for question, cluster in zip(questions, clusters_of(questions, entities), strict=True):
        right, n = question.choices[question.answer], len(question.choices)
        others = (question.choices[(question.answer + i) % n] for i in range(1, n))
        item = Item(question.question, right, another(right, others))
        key = question.subject, question.question
        found.add(item, key, cluster, subject=question.subject)
    return found


def of_instructions(entries: Sequence[Instruction], shortest: int) -> Asked:
    """Return tasks with their reference. If the input has `shortest` words, the item is the input
    alone: many tasks share an instruction, and a text that holds the input needs none.

    The wrong answer is the first listed one that differs, otherwise the reference of one of the
    next tasks of the same kind.
    """
    found = Asked(INSTRUCTIONS)
    by_kind: dict[str | None, list[str]] = {}
    for entry in entries:
        by_kind.setdefault(entry.kind, []).append(entry.output)
    place = dict.fromkeys(by_kind, 0)
    for entry in entries:
        of_kind, place[entry.kind] = by_kind[entry.kind], place[entry.kind] + 1
        others = (of_kind[(place[entry.kind] + i) % len(of_kind)] for i in range(TRIED))
        wrong = another(entry.output, [*entry.wrong, *others])
        alone = len(split(entry.input)) >= shortest
        item = Item(entry.input if alone else entry.task.strip(), entry.output, wrong)
        found.add(item, (entry.instruction, entry.input), task=entry.kind)
    return found


def of_messages(kind: str, messages: Sequence[Message], learnt: Collection[str]) -> Asked:
    """Return messages with their label. The wrong answer is the next in the alphabet among their
    labels and the `learnt` ones, because a test may hold only one label.
    """
    found = Asked(kind)
    labels = sorted({*learnt, *(message.label for message in messages)})
    following = dict(zip(labels, [*labels[1:], *labels[:1]], strict=True))
    for message in messages:
        found.add(Item(message.text), message.text, label=message.label)
        found.labels.append((message.label, following[message.label]))
    return found


def another(right: str, others: Iterable[str]) -> str:
    """Return the first text such that neither it nor `right` begins with the other, word by word;
    "" if there is none.
    """
    words = split(right)
    for other in others:
        own = split(other)
        shared = min(len(words), len(own))
        if words[:shared] != own[:shared]:
            return other
    return ""


def learnt(prepared: Path) -> dict[str, Iterator[SearchedText]]:
    """Return the training text by part: documents, and the training rows of labelled data. A role
    that is null yields nothing. The iterators yield documents one by one.
    """
    return {
        DOCUMENTS: _documents(prepared / "text" / "train"),
        INSTRUCTIONS: _rows(prepared / "instruction", instruction.read, _instruction),
        PREFERENCES: _rows(prepared / "preference", preference.read, _preference),
        MESSAGES: _rows(prepared / "classification", classification.read, _message),
    }


def _documents(folder: Path) -> Iterator[SearchedText]:
    number = 0
    for shard in parquet.shards(folder):
        for text, source in zip(parquet.texts(shard), parquet.sources(shard), strict=True):
            number += 1
            yield SearchedText(text, source, number)


def _rows(
    folder: Path,
    read: Callable[[Path], list[Row]],
    documents: Callable[[Row, str, int], list[SearchedText]],
) -> Iterator[SearchedText]:
    if skipped.reason(folder):
        return
    file = folder / "train.jsonl"
    for number, row in enumerate(read(file), 1):
        yield from documents(row, file.name, number)


def _instruction(row: Instruction, file: str, line: int) -> list[SearchedText]:
    return [SearchedText(f"{row.task}\n{row.output}", file, line)]


def _preference(row: Preference, file: str, line: int) -> list[SearchedText]:
    return [
        SearchedText(f"{row.task}\n{answer}", file, line) for answer in (row.chosen, row.rejected)
    ]


def _message(row: Message, file: str, line: int) -> list[SearchedText]:
    return [SearchedText(row.text, file, line, row.label)]
