"""Detect when a stage must stop: a signal, or the death of the `dvc` or `snakemake` that started
it.

Signals to those two do not reach the stage, so it watches them.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

import psutil

from llmill.contract import processes
from llmill.contract.errors import Stopped
from llmill.runner import launcher

STARTERS = ("dvc", "snakemake")
POLL_SECONDS = 0.5
STDERR = 2  # file descriptor


def signals() -> list[signal.Signals]:
    """Return the signals that stop a stage: Ctrl-C, a request to end, a closed terminal. The last
    one is left out under `nohup`, which has it ignored.
    """
    handled = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        handled.append(signal.SIGHUP)
    return handled


class Stop:
    """The first signal, remembered for code that saves at the end of a step. Elsewhere it is raised
    at once, and again with each later signal, because Python drops exceptions in a destructor.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._deferred = self._ending = False
        self._signals = signals()

    def listen(self) -> None:
        """Handle the signals, and watch the starters from a thread."""
        for signum in self._signals:
            signal.signal(signum, self._receive)
        starters = _starters()
        if starters:
            threading.Thread(target=_watch, args=(starters,), daemon=True).start()

    def ignore(self) -> None:
        """Ignore signals from now on: the stage is over, whether it succeeded or not."""
        for signum in self._signals:
            signal.signal(signum, signal.SIG_IGN)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Only remember a first signal in this context: the loop checks `signum`, saves, and raises
        `Stopped` itself.
        """
        self._deferred = True
        try:
            yield
        except BaseException:
            self._ending = True  # the ending must not be interrupted
            raise
        finally:
            self._deferred = False

    def raise_if_asked(self) -> None:
        """Raise `Stopped` for a signal that was only remembered."""
        if self.signum is not None:
            raise Stopped(self.signum)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self._ending:
            return
        first = self.signum is None
        self.signum = self.signum or signum
        if not self._deferred:
            raise Stopped(self.signum)
        if first and processes.main():
            _notice(f"llmill: signal {signum}: saving, then stopping\n")


def _notice(line: str) -> None:
    """Write past Python's buffers, which a signal may have interrupted halfway."""
    with contextlib.suppress(OSError):
        os.write(STDERR, line.encode())


def _starters() -> list[psutil.Process]:
    """Return the ancestors that are dvc or snakemake, by the name of the program or its script, and
    torchrun, the parent of each of several processes.
    """
    if launcher.orphaned():
        raise Stopped(signal.SIGTERM)
    parents = [psutil.Process(os.getppid())] if processes.started() else []
    for process in psutil.Process().parents():
        try:
            words = [os.path.basename(word) for word in process.cmdline()[:3]]
        except psutil.Error:
            continue
        if any(word in STARTERS for word in words):
            parents.append(process)
    return parents


def _watch(starters: list[psutil.Process]) -> None:
    while all(_alive(process) for process in starters):
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
