"""Standard output and error that outlive their reader, their copy in a log, and standard input.

A pipe whose reader died and a closed terminal refuse every further line. A stage then discards its
output and continues; a command that only prints ends with its reader.
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
    """Replace `sys.stdout` and `sys.stderr`; a stream that is already closed stays closed. A closed
    standard input becomes an empty one.
    """
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115  # as long as the process
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, Surviving):
            with contextlib.suppress(io.UnsupportedOperation):  # a file in memory needs none
                setattr(sys, name, Surviving(stream))


def outlive() -> None:
    """Continue even if nobody reads the output any more, because the work is not the output."""
    Surviving.outlives = True


def finish() -> None:
    """Flush both streams. If a command that only prints would end well, it exits with an error
    instead when its reader is gone or output was lost.
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
    """Copy what both streams print from now on into a log, until the process ends."""
    log.parent.mkdir(parents=True, exist_ok=True)
    Surviving.copy = log.open("a" if append else "w", encoding="utf-8", errors="replace")


class Surviving(io.TextIOWrapper):
    """A text stream over the same file, whose writes never fail."""

    copy: TextIO | None = None  # one for both streams
    outlives = False  # whether the work goes on without a reader
    lost = False  # whether output was lost though somebody reads it

    def __init__(self, stream: io.TextIOWrapper):
        super().__init__(
            io.BufferedWriter(io.FileIO(stream.fileno(), "w", closefd=False)),
            encoding=stream.encoding,
            errors="backslashreplace" if stream.errors == "strict" else stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )

    def write(self, text: str) -> int:
        """Write the text, or discard it."""
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
        """Flush, or discard what is held back."""
        try:
            super().flush()
        except OSError as error:
            self._let_go(error)

    def _let_go(self, error: OSError) -> None:
        """Discard what is held back and all that follows, but not for a full pipe, which empties
        again.
        """
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
