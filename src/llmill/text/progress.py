"""How far a source has come: a bar on a terminal, plain lines in a log."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from llmill.text.transfer import Position

LINES_ABOVE = 50_000_000  # bytes; a smaller source gets its first line only


@contextlib.contextmanager
def progress(title: str, total: int | None, say: Callable[[str], None]) -> Iterator[Position]:
    """Yields a function to be told how many bytes of the source are here; `total` None: unknown."""
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
    """A line at each tenth of a large source."""
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
