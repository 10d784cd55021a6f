"""Show how far a stage is and how long it still takes: a bar on a terminal, or an occasional line
in a log.

The bar goes to the terminal only, and bypasses the streams that are copied into the stage's log.
"""

import os
import shutil
import time
from collections.abc import Callable

from llmill.contract import printable, processes

TERMINAL = 2  # standard error
REDRAWN = 0.2  # seconds, at least
SAID = 30.0  # seconds between two lines without a bar
WIDTH = 20  # characters of the bar
ERASED = "\r\x1b[K"

_drawn = False  # whether the terminal's last line is a bar


class Countdown:
    """Count up to `total` things, called `unit`."""

    def __init__(
        self,
        address: str,
        total: int,
        unit: str,
        start: int = 0,
        lines: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ):
        """`start`: how many were already done; `lines`: whether a log gets lines too."""
        self.address, self.total, self.unit, self.start = address, total, unit, start
        self._clock, self._begun = clock, clock()
        self._last = self._begun
        self._bar = processes.main() and os.isatty(TERMINAL)
        self._lines = lines and processes.main() and not self._bar

    def at(self, done: int, note: str = "") -> None:
        """Report that `done` things are done, with `note` beside the count."""
        now = self._clock()
        if self._bar and (now - self._last >= REDRAWN or done >= self.total):
            self._last = now
            self._draw(done, note)
        elif self._lines and now - self._last >= SAID:
            self._last = now
            tell(self.address, self._text(done, note))

    def left(self, done: int) -> float:
        """Return the seconds until the end at the speed so far."""
        new = done - self.start
        return (self._clock() - self._begun) / new * (self.total - done) if new else 0.0

    def _text(self, done: int, note: str) -> str:
        parts = [f"{done:,} of {self.total:,} {self.unit}", note]
        if done < self.total:
            parts.append(f"{printable.duration(self.left(done))} left")
        return ", ".join(filter(None, parts))

    def _draw(self, done: int, note: str) -> None:
        global _drawn
        if done >= self.total:
            _clear()
            return
        full = WIDTH * done // self.total
        text = f"{self.address} [{'#' * full}{' ' * (WIDTH - full)}] {self._text(done, note)}"
        width = shutil.get_terminal_size().columns - 1
        _drawn = _write(ERASED + printable.line(text)[:width])


def tell(address: str, text: str) -> None:
    """Print one plain line of a stage in place of a bar."""
    _clear()
    print(printable.line(f"{address}: {text}"), flush=True)


def _clear() -> None:
    global _drawn
    if _drawn:
        _write(ERASED)
        _drawn = False


def _write(text: str) -> bool:
    """Write to the terminal and return whether it worked; a lost terminal loses the bar, not the
    work.
    """
    try:
        os.write(TERMINAL, text.encode())
    except OSError:
        return False
    return True
