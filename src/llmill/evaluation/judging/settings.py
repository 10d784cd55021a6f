"""Parameters of a judge on a server."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from llmill.contract.values import (
    Address,
    Line,
    Retries,
    Seconds,
    Section,
    Seed,
    Temperature,
    Variable,
    Written,
)
from llmill.evaluation.judging import prompts


def _known(name: str) -> str:
    known = prompts.names()
    if name not in known:
        raise ValueError(f"no prompt of this name; there are {', '.join(known)}")
    return name


PromptName = Annotated[str, AfterValidator(_known)]
SampleCount = Annotated[int, Field(ge=1, le=100)]
AtOnce = Annotated[int, Field(ge=1, le=100)]  # httpx opens at most 100 connections
Money = Annotated[float, Field(ge=0, le=10**9)]
Tokens = Annotated[int, Field(ge=1, le=10**12)]


class Price(Section):
    """The price of a million tokens, in any currency."""

    input: Money | None
    output: Money | None


class Budget(Section):
    """The most that the replies of a run may use, cached ones included; null for no limit."""

    tokens: Tokens | None
    cost: Money | None


class JudgeServer(Section):
    """A server with the OpenAI interface. The environment variable `key_variable` holds its key."""

    base_url: Address
    model: Line
    key_variable: Variable
    prompt: PromptName
    samples: SampleCount
    temperature: Temperature
    seed: Seed
    max_tokens: Written
    concurrency: AtOnce
    retries: Retries
    timeout: Seconds
    price: Price
    budget: Budget

    @model_validator(mode="after")
    def a_cost_has_prices(self) -> Self:
        if self.budget.cost is not None and None in (self.price.input, self.price.output):
            raise ValueError("budget.cost needs price.input and price.output")
        return self
