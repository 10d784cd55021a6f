"""Run a command in its own terminal, which can send what keys and a closed window send."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

INTERRUPT = b"\x03"  # Ctrl-C
STEP_SECONDS = 0.1  # seconds between two checks of whether the window was closed


class Terminal:
    """Runs a command as the foreground job of a new session, and keeps its output."""

    def __init__(self, words: Sequence[str], folder: Path, environment: Mapping[str, str]):
        self._master, slave = pty.openpty()
        self._text = ""
        self._changed = threading.Condition()
        self._closing = False
        self.process = subprocess.Popen(
            words,
            cwd=folder,
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """The output so far."""
        with self._changed:
            return self._text

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        """Wait for a match in the output and return the first one. Raises `TimeoutError` if none
        comes.
        """

        def ended() -> bool:
            return re.search(pattern, self._text) is not None or not self._reader.is_alive()

        with self._changed:
            self._changed.wait_for(ended, seconds)
            found = re.search(pattern, self._text)
        if found is None:
            raise TimeoutError(f"no {pattern!r} in:\n{self._text[-3000:]}")
        return found

    def press(self, keys: bytes = INTERRUPT) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def send(self, signum: signal.Signals) -> None:
        """Send a signal to every process of the job."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signum)

    def close(self) -> None:
        """Close the window: the shell passes SIGHUP to its job, and every later write fails."""
        self.send(signal.SIGHUP)
        self._closing = True
        self._reader.join()

    def _read(self) -> None:
        while not self._closing:
            if not select.select([self._master], [], [], STEP_SECONDS)[0]:
                continue
            try:
                content = os.read(self._master, 65536)
            except OSError:  # every process of the job has ended
                break
            with self._changed:
                self._text += content.decode(errors="replace")
                self._changed.notify_all()
        os.close(self._master)
        with self._changed:
            self._changed.notify_all()


def _take_terminal() -> None:
    """Make standard input the session's terminal in the child, and restore signal handlers."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)
