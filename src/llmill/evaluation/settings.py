"""What evaluations are told."""

from typing import Literal, get_args

from llmill.contract.values import Address, Line, Retries, Seconds, Section, Seed, Variable

Unit = Literal["sum", "token", "byte", "character"]  # by which a log-likelihood decides
UNITS: tuple[Unit, ...] = get_args(Unit)
TooLong = Literal["drop_shots", "keep_last"]  # what a prompt loses that has no room


class JudgeServer(Section):
    """A server with the OpenAI interface; the key is read from the environment."""

    base_url: Address
    model: Line
    key_variable: Variable
    seed: Seed
    retries: Retries
    timeout: Seconds
