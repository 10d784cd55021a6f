"""A table of texts with labels."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from llmill.contract.errors import UserError
from llmill.new_data import columns, dialogues, questions, texts
from llmill.new_data.columns import Columns, filled
from llmill.new_data.finding import SHOWN, Finding, beginning, counted, largest, lengths, listed
from llmill.runner import params
from llmill.tasks import classification, division, multiple_choice, tables
from llmill.tasks.classification import Collection, Message
from llmill.text.files import endings, table_endings
from llmill.text.identity import normal

QUOTES = {"quotes": False}
NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?")


def table(path: Path, own: Path, encoding: str | None, delimiter: str | None) -> Finding:
    """Return the finding for a table of texts with labels, or of texts alone."""
    whole, quotes = _read(path, encoding, delimiter)
    options = {"encoding": encoding, "delimiter": delimiter, **({} if quotes else QUOTES)}
    frame = whole.loc[:, [columns.names_one(whole, name) for name in whole.columns]]
    questions.refuse_ending(path, list(map(str, frame.columns)))
    if not any(map(columns.is_label, frame.columns)):
        dialogues.refuse_other_names(path, own, list(frame.columns), encoding)
    found = columns.find(frame)
    lines = [
        f"{path}: table, {path.stat().st_size:,} bytes",
        f"rows: {len(frame):,}",
        f"columns: {len(whole.columns)}",
        *(f"  {_described(name, frame[name])}" for name in list(frame.columns)[:SHOWN]),
    ]
    if found.label is None and "text" in frame.columns and endings.of(path.name):
        source = {"file": str(own), "format": "documents"}
        if encoding is not None:
            source["encoding"] = encoding
        rows = [cell for cell in frame["text"] if filled(cell)]
        if not rows:
            raise UserError(f"{path}: no text in it")
        lines += [f"first text: {beginning(rows[0])}", *lengths("texts", rows)]
        return Finding(lines, "text", texts.added(source))
    same = _same_names(whole)
    if same and (found.label is None or _is_longer(whole, frame, found.text)):
        raise UserError(f"{path}: {same}{_by_number(path)}")
    if found.label is None or found.text is None:
        raise UserError(_no_label(path, own, frame))
    form = {"file": str(own), "text": found.text, "label": found.label, "split": found.split}
    form = {key: value for key, value in (form | options).items() if value is not None}
    lines += _labelled(path, frame, found)
    if same:
        lines.append(f"warning: {same}")
    return Finding(lines, "classification", form)


def _labelled(path: Path, frame: pd.DataFrame, found: Columns) -> Iterator[str]:
    """Yield what the columns hold. Raises `UserError` for a single class."""
    split = [None] * len(frame) if found.split is None else frame[found.split]
    cells = [
        row
        for row in zip(frame[found.text], frame[found.label], split, strict=True)
        if filled(*row[:2])
    ]
    messages = [Message(name.strip(), text) for text, name, _ in cells]
    counts = Counter(message.label for message in messages)
    if len(counts) < 2:
        by_columns = path.suffix == ".json" and len(frame) == 1  # one object, of columns
        hint = "; in pandas, write rows by orient='records'" if by_columns else ""
        what = "all labelled texts are of one class" if counts else "no row has a text and a label"
        raise UserError(f"{path}: {what}{hint}")
    yield f"text: {found.text}; label: {found.label}{_guess(found)}" + (
        "" if found.split is None else f"; split: {found.split}"
    )
    yield f"classes: {len(counts)}: {largest(counts)}"
    yield (
        f"without text or label: {len(frame) - len(messages):,}; "
        f"repeats: {texts.repeats([message.text for message in messages]):,}; "
        f"texts with several labels: {len(classification.settle(messages)):,}"
    )
    yield f"first text: {beginning(messages[0].text)}"
    yield from lengths("texts", [message.text for message in messages])
    yield from columns.hints(frame, found)
    yield from _alike(counts)
    splits = [classification.SPLITS.get((name or "").strip().casefold()) for *_, name in cells]
    yield from _small(Collection(messages, splits))


def _guess(found: Columns) -> str:
    """Return that a label was guessed, and what else it may be."""
    if found.others is None:
        return ""
    also = f"; also possible: {listed(found.others)}" if found.others else ""
    return f" (a guess{also})"


def _alike(labels: Iterable[str]) -> Iterator[str]:
    """Yield a warning about labels that differ only in case, or in the writing of a number."""
    groups = defaultdict(list)
    for label in labels:
        key = Decimal(label) if NUMBER.fullmatch(label) else normal(label)
        groups[key].append(label)
    several = [", ".join(group) for group in groups.values() if len(group) > 1]
    if several:
        yield (
            f"warning: different classes, though written alike: {'; '.join(several[:SHOWN])}; "
            "write one label where they mean the same"
        )


def _small(collection: Collection) -> Iterator[str]:
    """Yield a warning about classes without a text in each split, as `prepare` will draw them."""
    divided = division.divide(collection, params.load().prepare.classification)
    few = [
        f"{label} (none in {' or '.join(names)})"
        for label, names in division.small_classes(divided.parts).items()
    ]
    if few:
        yield (
            f"warning: classes without a text in each split: {listed(few)}; add some texts, or "
            "leave the class out"
        )


def _read(path: Path, encoding: str | None, delimiter: str | None) -> tuple[pd.DataFrame, bool]:
    """Return the table, and whether its cells are quoted. If a name of its first row occurs again
    below itself, that row does not hold names, and columns have numbers.
    """
    quotes = True
    try:
        frame = tables.read_all(path, encoding, delimiter)
    except UserError as error:
        if path.suffix not in table_endings.DELIMITERS:
            raise
        try:
            quotes, frame = False, tables.read_all(path, encoding, delimiter, quotes=False)
        except UserError:
            raise error from None
        if set(frame.iloc[:, -1]) <= set(multiple_choice.LETTERS):  # a quiz, as MMLU's files are
            multiple_choice.read_table(path, path.stem, encoding)  # reports what is wrong with it
    if path.suffix in table_endings.DELIMITERS and columns.is_data(list(frame.columns), frame):
        frame = tables.read_all(path, encoding, delimiter, quotes, header=False)
    return frame, quotes


def _no_label(path: Path, own: Path, frame: pd.DataFrame) -> str:
    """Return the error for a table without a label or a text."""
    learnt = f"; or learn its texts: text: [{{file: {own}, column: COLUMN, format: documents}}]"
    return (
        f"{path}: no column looks like a label and another like a text; "
        + "".join(f"{hint}; " for hint in columns.quiz(frame))
        + f"choose among {listed(frame.columns)}: "
        f"classification: {{file: {own}, text: COLUMN, label: COLUMN}}"
        + _by_number(path)
        + (learnt if endings.of(path.name) else "")
    )


def _by_number(path: Path) -> str:
    """Return what else to do if the first row of a CSV or TSV file is taken for names."""
    if path.suffix not in table_endings.DELIMITERS:
        return ""
    return "; or give numbers from 1 if the first row holds no names"


def _same_names(whole: pd.DataFrame) -> str:
    """Return which names several columns have, and what to do; empty if there are none."""
    counts = Counter(str(name) for name in whole.columns if str(name).strip())
    same = [name for name, n in counts.items() if n > 1]
    return f"columns of the same name: {listed(same)}; rename one" if same else ""


def _is_longer(whole: pd.DataFrame, frame: pd.DataFrame, text: Any) -> bool:
    """Return whether a column that shares its name, and that is therefore not in `frame`, has
    longer cells than the text.
    """
    sizes = [columns.size(cells) for name, cells in whole.items() if name not in frame.columns]
    return max(sizes, default=0) > columns.size(frame[text])


def _described(name: Any, column: "pd.Series[Any]") -> str:
    cells = [cell for cell in column if filled(cell)]
    typical = round(median(map(len, cells))) if cells else 0
    return (
        f"{name}: {len(cells):,} filled, {len(set(cells)):,} different, "
        f"typically {counted(typical, 'character')}"
    )
