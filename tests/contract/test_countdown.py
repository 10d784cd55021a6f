"""How far a stage is: a bar on a terminal, lines in a log, and nothing of a bar in either's lines."""

import contextlib
import os
import pty
import re
import subprocess
import sys
from types import SimpleNamespace

from llmill.contract import countdown
from llmill.contract.countdown import Countdown
from llmill.contract.job import Job
from tests.conftest import ROOT


class Clock:
    """A clock that is set by hand, in seconds."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_gets_a_line_each_half_minute_with_the_time_that_is_left(capsys):
    clock = Clock()
    counted = Countdown("mmlu@pretrain", 1540, "questions", clock=clock)
    for clock.now, done in ((10.0, 50), (31.0, 155), (40.0, 200), (62.0, 310), (308.0, 1540)):
        counted.at(done)
    assert capsys.readouterr().out == (
        "mmlu@pretrain: 155 of 1,540 questions, 4 min 37 s left\n"
        "mmlu@pretrain: 310 of 1,540 questions, 4 min 6 s left\n"
        "mmlu@pretrain: 1,540 of 1,540 questions\n"
    )


def test_what_was_done_before_a_stop_does_not_count_as_fast(capsys):
    clock = Clock()
    counted = Countdown("pretrain", 1000, "steps", start=900, clock=clock)
    clock.now = 31.0
    counted.at(931, "loss 2.1")
    assert capsys.readouterr().out == "pretrain: 931 of 1,000 steps, loss 2.1, 1 min 9 s left\n"


SCRIPT = """
from llmill.contract.countdown import Countdown, tell
clock = iter(range(100))
counted = Countdown("pretrain", 4, "steps", clock=lambda: next(clock))
counted.at(1, "loss 3.000")
tell("pretrain", "step 1/4")
counted.at(2)
counted.at(4)
tell("pretrain", "done")
"""


def test_a_terminal_gets_a_bar_that_gives_way_to_lines():
    master, terminal = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "90"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment,
        stdout=terminal,
        stderr=terminal,
        check=True,
    )
    os.close(terminal)
    out = b""
    with contextlib.suppress(OSError):  # at its end, since nobody writes to it any more
        while True:
            out += os.read(master, 1000)
    assert done.returncode == 0
    erased = "\r\x1b[K"
    assert out.decode() == (
        f"{erased}pretrain [#####               ] 1 of 4 steps, loss 3.000, 6 s left"
        f"{erased}pretrain: step 1/4\r\n"
        f"{erased}pretrain [##########          ] 2 of 4 steps, 4 s left"
        f"{erased}pretrain: done\r\n"
    )


def test_a_stage_tells_how_many_of_how_many_are_done(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(countdown, "SAID", 0.0)
    stage = SimpleNamespace(address="mmlu@pretrain")
    job = Job(stage, {}, tmp_path, tmp_path, track=None, stop=None)
    at = job.progress("questions")
    at(1, 4)
    at(4, 4)
    first, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"mmlu@pretrain: 1 of 4 questions, \d+ s left", first)
    assert last == "mmlu@pretrain: 4 of 4 questions"
