"""What `llmill plan` prints: without results, beside a running DVC, in a read-only clone."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmill.contract.pipeline import Stage
from llmill.plan.dry_run import Forecast
from llmill.plan.table import Planned, table
from llmill.runner.cost import Cost
from tests.plan import toy


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    """A toy repository in which nothing was made."""
    root = tmp_path_factory.mktemp("fresh")
    toy.write(root)
    return root


def test_without_results_every_stage_runs_and_nobody_knows_how_long(fresh):
    done = toy.run(fresh, "llmill", "plan")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:5] == [
        "stage     dvc repro   last run took      memory",
        "paths     run                     -           -",
        "    dvc.lock names no result of it",
        "code      run                     -           -",
        "    dvc.lock names no result of it",
    ]
    assert lines[-1] == "  6 will run: nobody knows yet how long"
    told = json.loads(toy.run(fresh, "llmill", "plan", "--json").stdout)
    assert [each["stage"] for each in told] == toy.ALL
    assert told[0] == {
        "stage": "paths",
        "verdict": "run",
        "reasons": ["dvc.lock names no result of it"],
        "seconds": None,
        "memory_mib": None,
    }


def test_while_dvc_makes_something_it_says_so_in_one_line(fresh, tmp_path):
    root = shutil.copytree(fresh, tmp_path / "busy")
    (root / "hold").touch()
    words = [sys.executable, "-m", "dvc", "repro", "-q", "paths"]
    repro = subprocess.Popen(words, cwd=root, env=toy.environment())
    while not (root / "held").exists():
        assert repro.poll() is None
        time.sleep(0.05)
    done = toy.run(root, "llmill", "plan")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("llmill: DVC is at work here; ask again when it has ended (")
    assert f"(PID {repro.pid}: " in done.stderr
    assert done.stderr.count("\n") == 1
    (root / "hold").unlink()
    assert repro.wait(60) == 0


def test_in_a_read_only_clone_it_says_so_in_one_line(fresh):
    words = ["unshare", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*words, "true"], check=False).returncode:
        pytest.skip("no mounts of our own here")
    script = (
        'mount --bind . . && mount -o remount,bind,ro . && cd "$PWD" && exec "$0" -m llmill plan'
    )
    done = subprocess.run(
        [*words, "sh", "-c", script, sys.executable],
        cwd=fresh,
        env=toy.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "Read-only file system; work in a clone of your own" in done.stderr
    assert done.stderr.count("\n") == 1


def test_reasons_stand_below_their_stage_and_the_total_below_all():
    def planned(name: str, verdict: str, reasons: list[str], last: Cost | None) -> Planned:
        stage = Stage(name, None, "", (), (), f"results/{name}")
        return Planned(stage, Forecast(verdict, reasons), last)

    modules = [f"llmill.training.module_{i} changed" for i in range(14)]
    assert table(
        [
            planned("prepare", "leave", [], Cost(59.7, 288.4)),
            planned("pretrain", "run", ["torch 2.13.0, now 2.14.0"], Cost(7384.2, 2594.0)),
            planned("grader", "run", modules[:1], None),
            planned("judge", "may run", ["after pretrain"], Cost(61.2, 505.1)),
            planned("mmlu", "skip", ["download.mmlu is null"], Cost(9.0, 300.0)),
            planned("report", "restore", modules, Cost(5.0, 300.0)),
        ]
    ).splitlines() == [
        "stage     dvc repro   last run took      memory",
        "prepare   leave           1 min 0 s     288 MiB",
        "pretrain  run         2 h 3 min 4 s   2,594 MiB",
        "    torch 2.13.0, now 2.14.0",
        "grader    run                     -           -",
        "    llmill.training.module_0 changed",
        "judge     may run         1 min 1 s     505 MiB",
        "    after pretrain",
        "mmlu      skip                  9 s     300 MiB",
        "    download.mmlu is null",
        "report    restore               5 s     300 MiB",
        *(f"    {reason}" for reason in modules[:12]),
        "    and 2 more",
        "",
        "  2 will run: 2 h 3 min 4 s and 1 that nobody timed, at most 2,594 MiB by the last runs",
        "  1 may run, if what the stage before makes is new: 1 min 1 s, at most 505 MiB by the "
        "last runs",
        "  1 will be skipped, because what they need is null or switched off",
        "  1 will be restored from DVC's cache",
        "  1 stay as they are",
    ]
