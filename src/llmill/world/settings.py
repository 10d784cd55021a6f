"""Settings of how much of the built-in world is written."""

from typing import Annotated

from pydantic import Field

from llmill.contract.values import Section, Seed


class World(Section):
    """Size of the built-in data."""

    seed: Seed
    repeats: Annotated[int, Field(ge=1, le=10_000)]  # documents about each fact, roughly
    messages: Annotated[int, Field(ge=1, le=10**6)]  # classification messages
    instructions: Annotated[int, Field(ge=1, le=10**6)]
    questions: Annotated[int, Field(ge=1, le=10_000)]  # test questions per subject, at most
