"""Which columns of a table are its text, its label and its split."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from llmill.new_data.finding import flow
from llmill.tasks import classification, multiple_choice
from llmill.text import words

LABELS = ("label", "labels", "class", "category", "target", "topic", "queue", "intent", "sentiment")
SPLITS = ("split", "set", "fold", "part")
MOST_CLASSES = 1000  # a column with more different values is not proposed as the label
USUAL = {*LABELS, *classification.NAMES, "id", "subject", "body", "title", "review", "comment"}


@dataclass(frozen=True)
class Columns:
    """The names of columns, None for one that was not found. `others` may hold labels as well; it
    is None if the label has a usual name, so that it is no guess.
    """

    text: Any
    label: Any
    split: Any
    others: list[Any] | None


def find(frame: pd.DataFrame) -> Columns:
    """Return the column with the longest cells as the text, and as the label one with a usual name,
    else the repeating one with the fewest values.
    """
    split = next((name for name in frame.columns if _is_split(name, frame[name])), None)
    names = [name for name in frame.columns if name != split]
    sizes = {name: size(frame[name]) for name in names}
    text = max(sizes, key=lambda name: sizes[name], default=None)
    usual = [name for name in names if name != text and is_label(name)]
    if usual:
        return Columns(text, usual[0], split, None)
    counts = {name: _values(frame[name]) for name in names if name != text}
    repeating = [name for name, (n, cells) in counts.items() if 2 <= n < min(MOST_CLASSES, cells)]
    repeating.sort(key=lambda name: counts[name][0])
    return Columns(text, next(iter(repeating), None), split, repeating[1:])


def is_label(name: Any) -> bool:
    """Return whether a column of this name usually holds labels."""
    return str(name).strip().casefold() in LABELS


def is_data(names: Sequence[Any], frame: pd.DataFrame) -> bool:
    """Return whether the first row is data: one of its cells occurs again below itself, and no
    other is a usual name of a column.
    """
    again = [name for name in names if names_one(frame, name) and name in set(frame[name])]
    others = {str(name).strip().casefold() for name in names if name not in again}
    return bool(again) and not others & USUAL


def names_one(frame: pd.DataFrame, name: Any) -> bool:
    """Return whether just one column has this name: spreadsheets write empty ones, even several."""
    return bool(str(name).strip()) and list(frame.columns).count(name) == 1


def filled(*cells: str | None) -> bool:
    """Return whether no cell is empty or blank."""
    return all(cell and cell.strip() for cell in cells)


def size(column: "pd.Series[Any]") -> int:
    """Return how many characters a column holds."""
    return sum(len(cell or "") for cell in column)


def hints(frame: pd.DataFrame, found: Columns) -> Iterator[str]:
    """Yield what other columns seem to hold: texts where the text is empty, and right choices."""
    lacking = {
        name: sum(filled(other) and not filled(text) for text, other in
                  zip(frame[found.text], frame[name], strict=True))
        for name in frame.columns
        if name not in (found.text, found.label, found.split) and _is_text(frame[name])
    }  # fmt: skip
    other = max(lacking, key=lambda name: lacking[name], default=None)
    if other is not None and lacking[other]:
        joined = flow([name for name in frame.columns if name in (found.text, other)])
        rows = "1 row has" if lacking[other] == 1 else f"{lacking[other]:,} rows have"
        yield f"{rows} no {found.text}, only {other}; text: {joined} joins columns"
    yield from quiz(frame)


def quiz(frame: pd.DataFrame) -> Iterator[str]:
    """Yield a hint if a column holds only letters of choices, beside a question and its choices."""
    for name in frame.columns:
        cells = {cell.strip().upper() for cell in frame[name] if filled(cell)}
        if len(frame.columns) > 2 and cells and cells <= set(multiple_choice.LETTERS):
            yield (
                f"{name} holds only letters from A to J: if these are the right choices of "
                "questions, see mmlu in docs/your-data.md"
            )


def _values(column: "pd.Series[Any]") -> tuple[int, int]:
    """Return how many different values a column has, and in how many cells."""
    cells = [cell.strip() for cell in column if filled(cell)]
    return len(set(cells)), len(cells)


def _is_split(name: Any, column: "pd.Series[Any]") -> bool:
    cells = {cell.strip().casefold() for cell in column if filled(cell)}
    return (
        str(name).strip().casefold() in SPLITS
        and bool(cells)
        and cells <= classification.SPLITS.keys()
    )


def _is_text(column: "pd.Series[Any]") -> bool:
    """Return whether at least half of the cells hold several words."""
    cells = [cell for cell in column if filled(cell)]
    several = sum(sum(map(str.isalpha, words.split(cell))) > 1 for cell in cells)
    return bool(cells) and several * 2 >= len(cells)
