"""Standard output and error that outlive their reader, and their copy in a log; a standard input.

A pipe whose reader died and a terminal that was closed refuse every further line. Of a stage, what
is printed is then thrown away, and the work goes on; a command that only prints ends with its
reader.
"""

import contextlib
import errno
import io
import os
import signal
import sys
from pathlib import Path
from typing import TextIO

READER_GONE = (errno.EPIPE, errno.EIO)


def survive() -> None:
    """Replace `sys.stdout` and `sys.stderr`; one that is closed already stays so. A standard input
    that is closed is an empty one.
    """
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115  # as long as the process
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, Surviving):
            with contextlib.suppress(io.UnsupportedOperation):  # a file in memory needs no other
                setattr(sys, name, Surviving(stream))


def outlive() -> None:
    """Go on also where nobody reads the output any more: the work is not the output."""
    Surviving.outlives = True


def finish() -> None:
    """Write what is held back. Where a command that only prints would end well, it exits with an
    error instead if its reader is gone or output was lost.
    """
    ends_well = getattr(sys.exc_info()[1], "code", sys.exc_info()[1]) in (None, 0)
    if not ends_well:
        outlive()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Surviving):
            stream.flush()
    if Surviving.lost and not Surviving.outlives:
        sys.exit(1)


def copy_to(log: Path, append: bool) -> None:
    """Write what both print from now on into a log, too, until the process ends."""
    log.parent.mkdir(parents=True, exist_ok=True)
    Surviving.copy = log.open("a" if append else "w", encoding="utf-8", errors="replace")


class Surviving(io.TextIOWrapper):
    """A text stream over the same file, whose writes never fail."""

    copy: TextIO | None = None  # one for both streams
    outlives = False  # whether the work goes on without a reader
    lost = False  # whether output is, though somebody reads

    def __init__(self, stream: io.TextIOWrapper):
        super().__init__(
            io.BufferedWriter(io.FileIO(stream.fileno(), "w", closefd=False)),
            encoding=stream.encoding,
            errors="backslashreplace" if stream.errors == "strict" else stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )

    def write(self, text: str) -> int:
        """Write, or throw away."""
        if self.copy is not None:
            with contextlib.suppress(OSError):
                self.copy.write(text)
                self.copy.flush()
        try:
            return super().write(text)
        except OSError as error:
            self._let_go(error)
            return len(text)

    def flush(self) -> None:
        """Flush, or throw away."""
        try:
            super().flush()
        except OSError as error:
            self._let_go(error)

    def _let_go(self, error: OSError) -> None:
        """Send what is held back and all that follows to nowhere; a full pipe empties again."""
        if isinstance(error, BlockingIOError):
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if self is not sys.stdout:
            return
        if error.errno not in READER_GONE:
            Surviving.lost = True
            print(f"llmill: output is lost from here on: {error.strerror}", file=sys.stderr)
        elif error.errno == errno.EPIPE and not Surviving.outlives:
            sys.exit(128 + signal.SIGPIPE)
