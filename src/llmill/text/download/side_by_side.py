"""Runs calls side by side in threads, for work that waits for something else, such as a network.

The threads are daemons and end with the process, so a stop is not delayed. (Python would wait for
the threads of `ThreadPoolExecutor`.)
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def side_by_side(calls: Sequence[Callable[[], T]], most: int) -> list[T]:
    """Return the result of each call, in their order, with at most `most` calls at once.

    After a failure, no other call begins. Running calls finish, then the failure is raised: of
    several, the first in the order of the calls.
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
    finally:  # a stop may be raised in this thread
        _cancel(futures)
    failures = [each.exception() for each in futures if not each.cancelled()]
    for failure in filter(None, failures):
        raise failure
    return [future.result() for future in futures]


def _cancel(futures: list[Future[T]]) -> None:
    """Cancel the calls that have not begun."""
    for future in futures:
        future.cancel()
