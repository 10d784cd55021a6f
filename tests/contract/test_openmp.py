"""How torch's threads wait: what the process says to OpenMP, and what a user said before."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SHOW = (
    "import os; from llmill.contract import openmp; openmp.share_cores();"
    "print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))"
)


@pytest.mark.parametrize(
    ("chosen", "then"),
    [
        ({}, "1000 None"),
        ({"GOMP_SPINCOUNT": "5"}, "5 None"),
        ({"OMP_WAIT_POLICY": "active"}, "None active"),
    ],
)
def test_threads_wait_shortly_unless_the_user_chose_a_way(chosen, then):
    inherited = {
        k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    environment = {**inherited, "PYTHONPATH": str(ROOT / "src"), **chosen}
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{then}\n"


def test_the_command_line_says_so_before_torch_is_loaded():
    script = (
        "import sys, os; sys.argv = ['llmill', 'no-such-command']\n"
        "from llmill.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)\n"
    )
    environment = {
        k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, "PYTHONPATH": str(ROOT / "src")},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "1000 False\n"
