"""Progress of the download of a source: a bar on a terminal, plain lines in a log."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

from llmill.text.download.transfer import Position

LINES_ABOVE = 50_000_000  # bytes; a smaller source gets its first line only


class Sum:
    """Adds up the positions of files that arrive side by side."""

    def __init__(self, at: Position):
        self._at, self._lock = at, threading.Lock()
        self._positions: dict[int, int] = {}
        self._whole = 0

    def of(self, number: int) -> Position:
        """Return a function that is told the position of the file with this number."""

        def further(position: int) -> None:
            with self._lock:
                self._whole += position - self._positions.get(number, 0)
                self._positions[number] = position
                self._at(self._whole)

        return further


@contextlib.contextmanager
def progress(title: str, total: int | None, say: Callable[[str], None]) -> Iterator[Position]:
    """Yield a function that is told how many bytes of the source are here.

    If `total` is None, it is unknown.
    """
    if sys.stderr.isatty():
        with _bar(title, total) as at:
            yield at
    else:
        say(f"{title}, {total:,} bytes" if total else title)
        yield _lines(title, total, say)


@contextlib.contextmanager
def _bar(title: str, total: int | None) -> Iterator[Position]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)
        yield lambda position: bar.update(task, completed=position)


def _lines(title: str, total: int | None, say: Callable[[str], None]) -> Position:
    """Write a line at each tenth of a large source."""
    if total is None or total < LINES_ABOVE:
        return lambda position: None
    announced = 0

    def at(position: int) -> None:
        nonlocal announced
        tenths = 10 * position // total
        if tenths > announced:
            announced = tenths
            say(f"{title}: {position:,} of {total:,} bytes")

    return at
