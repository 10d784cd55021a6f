"""How a function tells how far its work is, without knowing who listens."""

from collections.abc import Callable

Progress = Callable[[int, int], None]  # called with the number done and the total


def in_silence(done: int, total: int) -> None:
    """Ignore progress."""
