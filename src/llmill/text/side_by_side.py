"""Runs calls side by side, in threads: for what waits for others, as a network does.

A stop is not held up: the threads are daemons, which end with the process, as at a kill. (Those of
`ThreadPoolExecutor` would be waited for.)
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
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
    for _ in range(min(most, len(calls))):
        threading.Thread(target=_work, args=(waiting,), daemon=True).start()
    try:
        wait(futures, return_when=FIRST_EXCEPTION)
    finally:  # also where a stop is raised
        for future in futures:
            future.cancel()  # those that have not begun
    wait(futures)
    for future in futures:
        if not future.cancelled() and (failure := future.exception()):
            raise failure
    return [future.result() for future in futures]


def _work(waiting: SimpleQueue[tuple[Future[T], Callable[[], T]]]) -> None:
    """Take one call after the other until none is left."""
    while True:
        try:
            future, call = waiting.get_nowait()
        except Empty:
            return
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
