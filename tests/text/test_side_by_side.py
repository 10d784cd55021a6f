"""Calls side by side: how many, in which order, and what is left when one fails or a stop comes."""

import signal
import subprocess
import sys
import threading
from functools import partial

import pytest

import llmill.text.download.side_by_side as module
from llmill.text.download.side_by_side import side_by_side


def test_results_come_in_the_order_of_the_calls_whichever_ends_first():
    last = threading.Event()

    def first():
        assert last.wait(20)
        return "first"

    def second():
        last.set()
        return "second"

    assert side_by_side([first, second], 2) == ["first", "second"]


@pytest.mark.parametrize("most", [1, 3])
def test_so_many_run_at_once_and_no_more(most):
    together, lock, seen = [], threading.Lock(), []
    full = threading.Barrier(most)

    def call():
        with lock:
            together.append(1)
            seen.append(len(together))
        full.wait(20)  # passes only where `most` of them are here
        with lock:
            together.pop()

    side_by_side([call] * (3 * most), most)
    assert max(seen) == most


def test_after_a_failure_none_begins_and_what_runs_ends_before_it_is_raised(monkeypatch):
    begun, cancelled, ended, cancel = [], threading.Event(), [], module._cancel

    def failing():
        raise ValueError("this one")

    def running():
        assert cancelled.wait(20)
        ended.append(True)

    def cancelling(futures):
        cancel(futures)
        cancelled.set()

    monkeypatch.setattr(module, "_cancel", cancelling)
    with pytest.raises(ValueError, match="this one"):
        side_by_side([running, failing, *[lambda: begun.append(True)] * 9], 2)
    assert ended == [True]
    assert begun == []


def test_of_several_failures_the_first_call_s_is_raised_and_without_calls_nothing_is():
    both = threading.Barrier(2)

    def failing(word):
        both.wait(20)
        raise ValueError(word)

    with pytest.raises(ValueError, match="one"):
        side_by_side([partial(failing, "one"), partial(failing, "two")], 2)
    assert side_by_side([], 4) == []


WAITING = """
import os, signal, threading
from llmill.text.download.side_by_side import side_by_side
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
def call():
    os.write(1, b"begun\\n")
    threading.Event().wait()
side_by_side([call] * 4, 2)
"""


def test_a_stop_is_not_held_up_by_what_still_runs():
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert [process.stdout.readline() for _ in range(2)] == ["begun\n"] * 2
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert out == ""  # the other two never began
    assert error.endswith("KeyboardInterrupt\n")
