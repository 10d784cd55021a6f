"""By what a choice's log-likelihood decides, and what a prompt without room loses."""

from typing import Literal, get_args

Unit = Literal["sum", "token", "byte", "character"]  # by which a log-likelihood decides
UNITS: tuple[Unit, ...] = get_args(Unit)
TooLong = Literal["drop_shots", "keep_last"]  # what a prompt loses that has no room
