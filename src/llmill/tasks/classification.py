"""Messages with a label: the raw files, the prepared one, and what a classifier reads.

Raw: a table with named columns, whatever its form (`tables`); or `label<TAB>text`, a row a line,
without a row of names.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmill.contract.errors import UserError
from llmill.tasks import jsonl
from llmill.tasks.rows import fused
from llmill.text.files.encoding import decode
from llmill.text.identity import normal
from llmill.text.tokenization.tokenizer import Tokenizer

FORM = "a row is label<TAB>text"
NAMES = {"label", "class", "category", "text", "message", "sms", "v1", "v2"}  # of columns
SPLITS = {  # as tables name them
    "train": "train", "training": "train",
    "validate": "validate", "validation": "validate", "valid": "validate", "val": "validate",
    "dev": "validate",
    "test": "test", "testing": "test",
}  # fmt: skip
PARTS = ("train", "validate", "test")
TESTS = "tests"  # a folder of further tests, a file each
FIRST = ("test", "validate", "train", None)  # of a text in two splits the row in the first stays


@dataclass(frozen=True)
class Message:
    """A text and its class."""

    label: str
    text: str


@dataclass(frozen=True)
class Collection:
    """Messages as they came, each with its split, or None where it is drawn; and how many rows had
    no text or no label.
    """

    messages: list[Message]
    splits: Sequence[str | None]
    without_text: int = 0
    without_label: int = 0

    def ordered(self) -> list[tuple[Message, str | None]]:
        """Messages with their splits: the test's first, so that no repeat of one is learnt."""
        pairs = zip(self.messages, self.splits, strict=True)
        return sorted(pairs, key=lambda pair: FIRST.index(pair[1]))


@dataclass(frozen=True)
class Contradiction:
    """A text that came with several labels: how often each, and the one that it keeps."""

    text: str
    labels: dict[str, int]
    label: str


def settle(messages: Iterable[Message]) -> dict[str, Contradiction]:
    """Contradictory labels, by the normal form of the text. A text keeps its most frequent label,
    of equals the one that came first.
    """
    labels: dict[str, Counter[str]] = {}
    texts: dict[str, str] = {}
    for message in messages:
        key = normal(message.text)
        labels.setdefault(key, Counter())[message.label] += 1
        texts.setdefault(key, message.text)
    return {
        key: Contradiction(texts[key], dict(counts), counts.most_common(1)[0][0])
        for key, counts in labels.items()
        if len(counts) > 1
    }


def read_table(folder: Path, form: Mapping[str, Any]) -> Collection:
    """The rows of a table and, if it names one, of its test file; `form`: `OwnTable`'s fields.

    Raises `UserError` for what is no such table, a single class, and a split of another name.
    """
    from llmill.tasks import tables  # loads pandas, which the built-in world does without

    texts, label, split = form["text"], form["label"], form["split"]
    columns = [*texts, label, *([] if split is None else [split])]
    rows: list[tuple[Message, str | None]] = []
    without_text = without_label = 0
    for file, of_all in ((form["file"], None), (form["test"], "test")):
        if file is None:
            continue
        path = folder / Path(file).name
        how = (form["encoding"], form["delimiter"], form["quotes"])
        frame = tables.read(path, columns, *how)
        for number, cells in enumerate(frame.itertuples(index=False, name=None), 1):
            text = "\n".join(cell for cell in cells[: len(texts)] if cell and cell.strip())
            name = (cells[len(texts)] or "").strip()
            if not text or not name:
                without_text, without_label = without_text + (not text), without_label + (not name)
                continue
            part = of_all if split is None else _split(cells[-1], f"{path}, row {number}")
            rows.append((Message(name, text), part))
    messages = [message for message, _ in rows]
    _refuse_one_class(folder / Path(form["file"]).name, messages)
    return Collection(messages, [part for _, part in rows], without_text, without_label)


def _split(cell: str | None, where: str) -> str | None:
    """None for a blank cell: a row to learn from, or to draw a split from that no row names."""
    name = (cell or "").strip().casefold()
    if not name:
        return None
    if name not in SPLITS:
        raise UserError(f"{where}: split {cell!r}; there is train, validate and test")
    return SPLITS[name]


def read_raw(path: Path) -> list[Message]:
    """Every row of a raw file without a row of names; raises `UserError` for an unlabelled row or
    a single class.
    """
    try:
        text = decode(path.read_bytes(), path, None)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run stage download again") from None
    rows = _quoted(text)
    if rows is None:
        lines = text.split("\n")
        rows = [(n, *line.partition("\t")) for n, line in enumerate(lines, 1) if line.strip()]
    messages = [_message(label, tab, rest, f"{path}, row {n}") for n, label, tab, rest in rows]
    if not messages:
        raise UserError(f"{path}: an empty file; {FORM}")
    _refuse_names(path, messages)
    _refuse_one_class(path, messages)
    return messages


def read_raw_tests(folder: Path) -> dict[str, list[Message]]:
    """Further tests that lie beside a raw file, by name; raises `UserError` as `read_raw` does."""
    return {file.stem: read_raw(file) for file in sorted((folder / TESTS).glob("*.tsv"))}


def _quoted(text: str) -> list[tuple[int, str, str, str]] | None:
    """The rows as a spreadsheet wrote them, fields in quotation marks where they need some; None
    where the marks are text: one that begins a field has no end, or its end is in another row.
    """
    if '\t"' not in text:
        return None
    reader = csv.reader(io.StringIO(text), delimiter="\t", strict=True)
    rows = []
    try:
        for fields in reader:
            if fields and len(fields) != 2:
                return None
            if fields:
                rows.append((reader.line_num, fields[0], "\t", fields[1]))
    except csv.Error:
        return None
    return None if fused([(label, rest) for _, label, _, rest in rows], "\t") is not None else rows


def _message(label: str, tab: str, text: str, where: str) -> Message:
    if not tab or not label.strip():
        raise UserError(f"{where}: no label in {(label + tab + text)[:40]!r}; {FORM}")
    if not text.strip():
        raise UserError(f"{where}: no text after label '{label}'; {FORM}")
    return Message(label.strip(), text)


def _refuse_names(path: Path, messages: Sequence[Message]) -> None:
    """A row of names would be a class of its own."""
    first = messages[0]
    names = {first.label.casefold(), first.text.strip().casefold()}
    if names <= NAMES and sum(message.label == first.label for message in messages) == 1:
        raise UserError(
            f"{path}: row 1 holds names of columns; put the file into own/ and name them in "
            f"params.yaml: `download.classification: {{file: own/{path.name}, "
            f"text: {first.text.strip()}, label: {first.label}}}`"
        )


def _refuse_one_class(path: Path, messages: Sequence[Message]) -> None:
    labels = sorted({message.label for message in messages})
    if not labels:
        raise UserError(f"{path}: no row has a text and a label")
    if len(labels) < 2:
        raise UserError(f"{path}: every row is '{labels[0]}'; a classifier needs two classes")


def read(path: Path) -> list[Message]:
    """Prepared messages."""
    return jsonl.read(path, Message)


def read_splits(folder: Path) -> dict[str, list[Message]]:
    """The prepared messages of each part; raises `UserError` for a part without any, and for a
    label that stands in no training message, which no classifier could ever say.
    """
    splits = {name: read(folder / f"{name}.jsonl") for name in PARTS}
    learnt = {row.label for row in splits["train"]}
    for name, rows in splits.items():
        path = folder / f"{name}.jsonl"
        if not rows:
            raise UserError(f"{path}: no messages; change the shares in prepare.classification")
        _refuse_strange(path, rows, learnt)
    return splits


def read_tests(folder: Path, learnt: Iterable[str]) -> dict[str, list[Message]]:
    """The prepared messages of each further test, none where there are none; raises `UserError` for
    a label that is not among the learnt ones.
    """
    tests = {file.stem: read(file) for file in sorted((folder / TESTS).glob("*.jsonl"))}
    for name, rows in tests.items():
        _refuse_strange(folder / TESTS / f"{name}.jsonl", rows, set(learnt))
    return tests


def _refuse_strange(path: Path, rows: Iterable[Message], learnt: set[str]) -> None:
    strange = sorted({row.label for row in rows} - learnt)
    if strange:
        raise UserError(f"{path}: label '{strange[0]}' stands in no training message")


def write(path: Path, messages: Iterable[Message]) -> None:
    """Write prepared messages."""
    jsonl.write(path, messages)


def encode(tokenizer: Tokenizer, text: str, max_length: int) -> list[int]:
    """What a classifier reads: <|endoftext|>, as before a document, and the text, of a longer one
    the end; at most `max_length` tokens.
    """
    tokens = tokenizer.encode(text)
    return [tokenizer.end_of_text, *tokens[max(0, len(tokens) + 1 - max_length) :]]
