"""Waiting for what another thread or process does, however busy the machine is."""

import time
from collections.abc import Callable

import psutil


def until(reached: Callable[[], bool], seconds: float = 120.0, every: float = 0.01) -> None:
    """Wait for what must come."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it did not come"
        time.sleep(every)


def ended(process: psutil.Process) -> bool:
    """An orphan that ended is a zombie until whoever adopted it reaps it."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
