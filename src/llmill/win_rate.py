"""`llmill win-rate FILE`: how often a model's answer is preferred to another's, counted as
AlpacaEval does.

A preference is 2 for the model's answer, 1 for the reference's, and anything between: 1.5 is a tie,
1.9 the judge's nine to one.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from llmill.contract.errors import UserError
from llmill.tasks import rows

REFERENCE, TIE, MODEL = 1.0, 1.5, 2.0


@dataclass(frozen=True)
class WinRate:
    """The mean preference and its standard error, both in percent; NaN for the error of one."""

    value: float
    error: float
    wins: int
    ties: int
    losses: int
    without: int  # of no preference, left out

    def __str__(self) -> str:
        return (
            f"win rate {self.value:.2f} %, standard error {self.error:.2f}; {self.wins} won, "
            f"{self.ties} tied, {self.losses} lost, {self.without} without a preference"
        )


def win_rate(preferences: list[float | None]) -> WinRate:
    """Of all that has a preference; raises `ValueError` if none has."""
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
    """The preferences of a file of annotations, JSON, JSON lines or Parquet; raises `UserError`
    with the place of one that is none.
    """
    found = []
    for where, row in rows.read(file):
        if not isinstance(row, dict) or column not in row:
            raise UserError(f"{where}: no '{column}'; --column names it")
        given = row[column]
        number = isinstance(given, int | float) and not isinstance(given, bool)
        if given is not None and not (number and REFERENCE <= given <= MODEL):
            raise UserError(f"{where}: {column} {given!r} is no number from 1 to 2, nor null")
        found.append(given)
    return found


def print_win_rate(file: Path, column: str) -> None:
    """Print it."""
    try:
        print(win_rate(read(file, column)))
    except ValueError:
        raise UserError(f"{file}: no entry has a preference") from None
