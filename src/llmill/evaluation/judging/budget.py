"""Tokens and what they cost, and a budget of both that is never exceeded: before a request is sent,
the most that it can take is set aside.
"""

import threading
from dataclasses import dataclass

from llmill.evaluation.judging.settings import Budget, Price

MILLION = 1_000_000


@dataclass(frozen=True)
class Usage:
    """Tokens read and written."""

    input: int
    output: int

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.input + other.input, self.output + other.output)

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(self.input - other.input, self.output - other.output)

    @property
    def tokens(self) -> int:
        """Of both kinds."""
        return self.input + self.output

    def cost(self, price: Price) -> float | None:
        """In the price's currency; None without one."""
        if price.input is None or price.output is None:
            return None
        return (self.input * price.input + self.output * price.output) / MILLION


NOTHING = Usage(0, 0)


class Spent(Exception):
    """The next request could exceed the budget; `key` names the limit."""

    def __init__(self, message: str, key: str):
        super().__init__(message)
        self.key = key


class Purse:
    """What is left of a budget, among several threads."""

    def __init__(self, budget: Budget, price: Price, spent: Usage):
        """`spent`: what counts already."""
        self._budget, self._price = budget, price
        self._spent, self._held = spent, NOTHING
        self._changed = threading.Condition()

    def take(self, most: Usage) -> None:
        """Set aside what a request takes at most; waits for what others have set aside, if that may
        make room. Raises `Spent` where nothing can.
        """
        with self._changed:
            while (short := self._short(most)) is not None:
                if self._held == NOTHING:
                    raise short
                self._changed.wait()
            self._held += most

    def settle(self, most: Usage, used: Usage) -> None:
        """Put back what was set aside, less what was used."""
        with self._changed:
            self._held -= most
            self._spent += used
            self._changed.notify_all()

    def _short(self, most: Usage) -> Spent | None:
        """Why the next request has no room."""
        then = self._spent + self._held + most
        tokens, cost = self._budget.tokens, self._budget.cost
        if tokens is not None and then.tokens > tokens:
            return Spent(
                f"the budget of {tokens:,} tokens has no room for another request: "
                f"{self._spent.tokens:,} are spent, and it may take {most.tokens:,}",
                "tokens",
            )
        if cost is not None and (then.cost(self._price) or 0.0) > cost:
            spent, more = (each.cost(self._price) or 0.0 for each in (self._spent, most))
            return Spent(
                f"the budget of {cost:g} has no room for another request: {spent:.6g} is spent, "
                f"and it may cost {more:.6g}",
                "cost",
            )
        return None
