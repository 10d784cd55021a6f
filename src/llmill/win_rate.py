"""`llmill win-rate FILE`: how often a model's answer is preferred to another's, counted as
AlpacaEval does, and how often it would be at equal length.

A preference is 2 for the model's answer (`output_2`), 1 for the reference's (`output_1`), or a
value between: 1.5 is a tie, as is 0 in older files; 1.9 means nine to one by the judge.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from llmill.contract import elsewhere
from llmill.contract.errors import UserError
from llmill.evaluation.statistics import length_control
from llmill.evaluation.statistics.length_control import Compared, Controlled
from llmill.tasks import rows, tables

REFERENCE, TIE, MODEL = 1.0, 1.5, 2.0
OLD_TIE = 0.0
OUTPUTS = ("output_1", "output_2")
INDEX, PREFERENCE, LONGER, DIFFICULTY = (
    "index",
    "preference",
    "std_delta_len",  # how much longer the reference's answer is, in standard deviations
    "instruction_difficulty",
)
RESAMPLES, CONFIDENCE, SEED = 200, 0.95, 1


@dataclass(frozen=True)
class WinRate:
    """The mean preference and its standard error, both in percent; the error of a single one is
    NaN.
    """

    value: float
    error: float
    wins: int
    ties: int
    losses: int
    without: int  # without a preference, left out

    def __str__(self) -> str:
        return (
            f"win rate {self.value:.2f} %, standard error {self.error:.2f}; {self.wins} won, "
            f"{self.ties} tied, {self.losses} lost, {self.without} without a preference"
        )


def win_rate(preferences: list[float | None]) -> WinRate:
    """Return the win rate over all entries with a preference. Raises `ValueError` if there are
    none.
    """
    told = [each for each in preferences if each is not None]
    if not told:
        raise ValueError("no preference")
    return WinRate(
        100 * (mean(told) - REFERENCE),
        100 * stdev(told) / math.sqrt(len(told)) if len(told) > 1 else math.nan,
        sum(each > TIE for each in told),
        sum(each == TIE for each in told),
        sum(each < TIE for each in told),
        len(preferences) - len(told),
    )


def read(file: Path, column: str) -> list[float | None]:
    """Return the preferences of a file of annotations: JSON, JSON lines or Parquet. Raises
    `UserError` with the place of an invalid one.
    """
    elsewhere.refuse_other_than_files(file)
    found = []
    for where, row in rows.read(file):
        if not isinstance(row, dict) or column not in row:
            raise UserError(f"{where}: no '{column}'; --column names it")
        given = row[column]
        number = isinstance(given, int | float) and not isinstance(given, bool)
        fits = number and (REFERENCE <= given <= MODEL or given == OLD_TIE)
        if given is not None and not fits:
            raise UserError(f"{where}: {column} {given!r} is no number from 1 to 2, nor null")
        found.append(TIE if given == OLD_TIE else given)
    return found


def longer(file: Path) -> np.ndarray:
    """Return by how many standard deviations each of the model's answers is longer than the
    reference's, in characters, (N,).
    """
    apart = []
    for where, row in rows.read(file):
        outputs = [row.get(name) if isinstance(row, dict) else None for name in OUTPUTS]
        for name, output in zip(OUTPUTS, outputs, strict=True):
            if not isinstance(output, str):
                raise UserError(
                    f"{where}: no text '{name}'; lengths need both answers, output_1 the "
                    "reference's and output_2 the model's"
                )
        apart.append(len(row["output_2"]) - len(row["output_1"]))
    return length_control.standardised(apart)


def weak(file: Path, size: int) -> tuple[Compared, np.ndarray]:
    """Return AlpacaEval's `df_gamed.csv`: preferences for answers of the reference model that was
    told to be brief or wordy, and the difficulty of each of `size` instructions, (N,).
    """
    elsewhere.refuse_other_than_files(file)
    frame = tables.read(file, [INDEX, PREFERENCE, LONGER, DIFFICULTY])
    table: dict[str, list[float]] = {name: [] for name in frame.columns}
    for number, cells in enumerate(frame.itertuples(index=False), 1):
        for name, cell in zip(frame.columns, cells, strict=True):
            table[name].append(_number(cell, name, f"{file}, row {number}"))
    hard = dict(zip(table[INDEX], table[DIFFICULTY], strict=True))
    if sorted(hard) != list(range(size)):
        raise UserError(
            f"{file}: 'index' names {len(hard)} instructions, and not each of the {size} of the "
            f"annotations, 0 to {size - 1}"
        )
    preference, apart, difficulty = (
        np.array(table[name]) for name in (PREFERENCE, LONGER, DIFFICULTY)
    )
    return Compared(preference, -apart, difficulty), np.array([hard[n] for n in range(size)])


def _number(cell: Any, name: str, where: str) -> float:
    """Return a cell's number; an empty cell is a preference that nobody gave."""
    if name == PREFERENCE and not cell:
        return math.nan
    try:
        found = float(cell)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise UserError(f"{where}: {name} {cell!r} is no number")
    if name == PREFERENCE and not 0 <= found <= 1:
        raise UserError(f"{where}: {name} {cell!r} is not from 0 to 1")
    return found


def controlled(file: Path, column: str, gamed: Path | None) -> Controlled:
    """Return the length-controlled win rate of a file of annotations."""
    preferences = read(file, column)
    beside, difficulty = (None, None) if gamed is None else weak(gamed, len(preferences))
    worth = [math.nan if each is None else each - REFERENCE for each in preferences]
    own = Compared(np.array(worth), longer(file), difficulty)
    try:
        return length_control.controlled(
            own, beside, confidence=CONFIDENCE, resamples=RESAMPLES, seed=SEED
        )
    except ValueError as error:
        raise UserError(f"{file}: {error}") from None


def described(found: Controlled) -> str:
    """Return two lines: the win rate, and the terms of the regression."""
    terms = f"model {found.model:+.3f}, tanh of the length {found.length:+.3f}"
    hard = (
        "no term for difficulty (--gamed has it)"
        if found.difficulty is None
        else f"difficulty {found.difficulty:+.3f}"
    )
    return (
        f"length-controlled {found.value:.2f} %, standard error of the predictions "
        f"{found.error:.2f}; {CONFIDENCE:.0%} of {RESAMPLES} draws of the instructions give "
        f"{found.low:.2f} to {found.high:.2f}\n"
        f"terms of its logit: {terms}, {hard}; penalty 1/{found.penalty:.4g}"
    )


def print_win_rate(
    file: Path, column: str, length_controlled: bool = False, gamed: Path | None = None
) -> None:
    """Print the win rate, and on request the length-controlled one."""
    try:
        print(win_rate(read(file, column)))
    except ValueError:
        raise UserError(f"{file}: no entry has a preference") from None
    if length_controlled or gamed is not None:
        print(described(controlled(file, column, gamed)))
