"""Runs calls side by side, in threads: for what waits for others, as a network does.

A stop is not held up: the threads are daemons, which end with the process, as at a kill. (Those of
`ThreadPoolExecutor` would be waited for.)
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def side_by_side(calls: Sequence[Callable[[], T]], most: int) -> list[T]:
    """The result of each call, in their order, at most so many at once.

    After one has failed no other begins; those that run come to their end, then the failure is
    raised, of several the first in the order of the calls.
    """
    futures: list[Future[T]] = [Future() for _ in calls]
    waiting: SimpleQueue[tuple[Future[T], Callable[[], T]]] = SimpleQueue()
    for pair in zip(futures, calls, strict=True):
        waiting.put(pair)

    def work() -> None:
        while True:
            try:
                future, call = waiting.get_nowait()
            except Empty:
                return
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    _cancel(futures)
                    future.set_exception(error)

    try:
        for _ in range(min(most, len(calls))):
            threading.Thread(target=work, daemon=True).start()
        wait(futures)
    finally:  # where a stop is raised in this thread
        _cancel(futures)
    failures = [each.exception() for each in futures if not each.cancelled()]
    for failure in filter(None, failures):
        raise failure
    return [future.result() for future in futures]


def _cancel(futures: list[Future[T]]) -> None:
    """Let none begin that has not begun."""
    for future in futures:
        future.cancel()
