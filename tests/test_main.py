"""How a command ends: codes and words, of a process that torchrun started, too."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPT = """
import time
from llmill import __main__
from llmill.contract.errors import Stopped, UserError

class Model:
    def __del__(self):
        time.sleep(3600)  # as DDP's may, after its group has gone

def train():
    model = Model()
    print("trained")
    {end}

model = Model()
__main__.app = train
__main__.main()
"""


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("raise SystemExit(0)", 0, ""),
        ("raise SystemExit(2)", 2, ""),
        ("raise UserError('a.txt: empty')", 1, r"llmill: a\.txt: empty\n"),
        (
            "raise Stopped(15)",
            128 + 15,
            "llmill: stopped by signal 15; the same command continues from here\n",
        ),
        ("raise ValueError('odd')", 1, r"Traceback .*\nValueError: odd\n"),
    ],
)
def test_one_of_several_processes_ends_without_waiting_for_destructors(end, code, said):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(end=end)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "TORCHELASTIC_RUN_ID": "test"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (code, "trained\n")
    assert re.fullmatch(said, done.stderr, re.DOTALL)
