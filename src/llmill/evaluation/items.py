"""The items that models are tested on, each with a right and a wrong answer where it has some; and
the text that they learn from, in parts.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
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
from llmill.text.corpus.overlap import Document, Item
from llmill.text.words import split

QUESTIONS, INSTRUCTIONS, MESSAGES = "questions", "instructions", "messages"
DOCUMENTS, PREFERENCES = "documents", "preferences"
TRIED = 20  # references of other tasks, to find one that is another text

Row = TypeVar("Row")


@dataclass
class Asked:
    """The test items of one kind."""

    kind: str
    items: list[Item] = field(default_factory=list)
    names: list[dict[str, Any]] = field(default_factory=list)  # what tells a reader which it is
    keys: list[Hashable] = field(default_factory=list)  # what a result of a model names it by
    labels: list[tuple[str, str]] = field(default_factory=list)  # the right one and a wrong one
    clusters: list[Hashable] = field(default_factory=list)  # what they share, or their number

    def add(self, item: Item, key: Hashable, cluster: Hashable = None, **name: Any) -> None:
        """One more; `cluster` is what it shares with others."""
        self.clusters.append(len(self.items) if cluster is None else cluster)
        self.items.append(item)
        self.names.append(name)
        self.keys.append(key)


def asked(prepared: Path) -> Iterator[Asked]:
    """The test items of every role that is there; further tests of messages are kinds."""
    if not skipped.reason(prepared / "mmlu"):
        folder = prepared / "mmlu"
        entities = record.read_json(folder / "entities.json")
        yield of_questions(multiple_choice.read(folder / "test.jsonl"), entities)
    if not skipped.reason(prepared / "instruction"):
        yield of_instructions(instruction.read(prepared / "instruction" / "test.jsonl"))
    folder = prepared / "classification"
    if not skipped.reason(folder):
        yield of_messages(MESSAGES, classification.read(folder / "test.jsonl"))
        for file in sorted((folder / classification.TESTS).glob("*.jsonl")):
            yield of_messages(f"{MESSAGES}: {file.stem}", classification.read(file))


def of_questions(questions: Sequence[Question], entities: Mapping[str, str]) -> Asked:
    """Questions with the right choice, and with the next one behind it that is another text;
    `entities` are what they are about.
    """
    found = Asked(QUESTIONS)
    for question, cluster in zip(questions, clusters_of(questions, entities), strict=True):
        right, n = question.choices[question.answer], len(question.choices)
        others = (question.choices[(question.answer + i) % n] for i in range(1, n))
        item = Item(question.question, right, another(right, others))
        key = question.subject, question.question
        found.add(item, key, cluster, subject=question.subject)
    return found


def of_instructions(entries: Sequence[Instruction]) -> Asked:
    """Tasks with their reference; the wrong answer is the first that is listed as one, else the
    reference of the next task of that kind.
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
        item = Item(entry.task.strip(), entry.output, wrong)
        found.add(item, (entry.instruction, entry.input), task=entry.kind)
    return found


def of_messages(kind: str, messages: Sequence[Message]) -> Asked:
    """Messages with their label, and with the next one as the wrong one."""
    found = Asked(kind)
    labels = sorted({message.label for message in messages})
    following = dict(zip(labels, [*labels[1:], *labels[:1]], strict=True))
    for message in messages:
        found.add(Item(message.text), message.text, label=message.label)
        found.labels.append((message.label, following[message.label]))
    return found


def another(right: str, others: Iterable[str]) -> str:
    """The first text of which neither begins the other, word by word; "" where there is none."""
    words = split(right)
    for other in others:
        own = split(other)
        shared = min(len(words), len(own))
        if words[:shared] != own[:shared]:
            return other
    return ""


def learnt(prepared: Path) -> dict[str, Iterator[Document]]:
    """What is trained on: documents, and the training rows of labelled data, read one by one. Of a
    role that is null there is nothing.
    """
    return {
        DOCUMENTS: _documents(prepared / "text" / "train"),
        INSTRUCTIONS: _rows(prepared / "instruction", instruction.read, _instruction),
        PREFERENCES: _rows(prepared / "preference", preference.read, _preference),
        MESSAGES: _rows(prepared / "classification", classification.read, _message),
    }


def _documents(folder: Path) -> Iterator[Document]:
    number = 0
    for shard in parquet.shards(folder):
        for text, source in zip(parquet.texts(shard), parquet.sources(shard), strict=True):
            number += 1
            yield Document(text, source, number)


def _rows(
    folder: Path,
    read: Callable[[Path], list[Row]],
    documents: Callable[[Row, str, int], list[Document]],
) -> Iterator[Document]:
    if skipped.reason(folder):
        return
    file = folder / "train.jsonl"
    for number, row in enumerate(read(file), 1):
        yield from documents(row, file.name, number)


def _instruction(row: Instruction, file: str, line: int) -> list[Document]:
    return [Document(f"{row.task}\n{row.output}", file, line)]


def _preference(row: Preference, file: str, line: int) -> list[Document]:
    return [Document(f"{row.task}\n{answer}", file, line) for answer in (row.chosen, row.rejected)]


def _message(row: Message, file: str, line: int) -> list[Document]:
    return [Document(row.text, file, line, row.label)]
