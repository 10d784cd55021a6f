"""Units by which a log-likelihood is divided, and rules for prompts that are too long."""

from typing import Literal, get_args

Unit = Literal["sum", "token", "byte", "character"]  # that a log-likelihood is divided by
UNITS: tuple[Unit, ...] = get_args(Unit)
TooLong = Literal["drop_shots", "keep_last"]  # rules for a prompt that is too long
