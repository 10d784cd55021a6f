"""Token usage, its cost, and a budget for both. A request reserves the most that it can use before
it is sent, so the budget is never exceeded.
"""

import threading
from dataclasses import dataclass

from llmill.evaluation.judging.settings import Budget, Price

MILLION = 1_000_000


@dataclass(frozen=True)
class Usage:
    """Input and output tokens."""

    input: int
    output: int

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.input + other.input, self.output + other.output)

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(self.input - other.input, self.output - other.output)

    @property
    def tokens(self) -> int:
        """The sum of input and output tokens."""
        return self.input + self.output

    def cost(self, price: Price) -> float | None:
        """Return the cost in the currency of `price`; None if a price is missing."""
        if price.input is None or price.output is None:
            return None
        return (self.input * price.input + self.output * price.output) / MILLION


NOTHING = Usage(0, 0)


class Spent(Exception):
    """The next request could exceed the budget; `key` is the limit's parameter."""

    def __init__(self, message: str, key: str):
        super().__init__(message)
        self.key = key


class Purse:
    """A budget that several threads share."""

    def __init__(self, budget: Budget, price: Price, spent: Usage):
        """`spent` is the usage so far."""
        self._budget, self._price = budget, price
        self._spent, self._held = spent, NOTHING
        self._changed = threading.Condition()

    def take(self, most: Usage) -> None:
        """Reserve the most that a request can use. If there is no room, wait until other requests
        settle. Raise `Spent` if no other request holds a reservation.
        """
        with self._changed:
            while (short := self._short(most)) is not None:
                if self._held == NOTHING:
                    raise short
                self._changed.wait()
            self._held += most

    def settle(self, most: Usage, used: Usage) -> None:
        """Release a reservation and record the actual usage."""
        with self._changed:
            self._held -= most
            self._spent += used
            self._changed.notify_all()

    def _short(self, most: Usage) -> Spent | None:
        """Return why a request of `most` has no room, or None if it has."""
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
