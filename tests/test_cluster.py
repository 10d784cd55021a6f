"""The smoke chain on a real slurm, with a training that is cancelled in the middle and a node that dies. It has no
instructions: what needs them is skipped, in a job of its own all the same.

Skipped where slurm is not installed: `apt install slurm-wlm munge` and
`pip install snakemake-executor-plugin-slurm`.
"""

import contextlib
import importlib.util
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import cluster
from tests.chains import Clone, clean, clone, environment, tracked_runs

PLUGIN = "snakemake_executor_plugin_slurm"
QUICK = ("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "3")
WORDS = ("snakemake", "--profile", "profiles/slurm", *QUICK)
STEPS = 1000
PARTS = 14  # files of text in the world

pytestmark = [
    pytest.mark.skipif(
        cluster.missing() is not None, reason=f"no slurm to start: {cluster.missing()}"
    ),
    pytest.mark.skipif(
        importlib.util.find_spec(PLUGIN) is None, reason="snakemake-executor-plugin-slurm is absent"
    ),
]


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> cluster.Cluster:
    with cluster.running(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture
def slurm(node) -> dict[str, str]:
    return node.environment


@pytest.fixture
def made(tmp_path) -> Clone:
    return clone(tmp_path / "mill")


def jobs(slurm: dict[str, str]) -> dict[str, str]:
    """Number by the comment that the plugin gives a job: its rule."""
    words = ["squeue", "-h", "-o", "%i %k"]
    done = subprocess.run(words, env=environment(**slurm), capture_output=True, text=True)
    return {
        name: number
        for number, _, name in (line.partition(" ") for line in done.stdout.splitlines())
    }


def wait_for(file: Path, pattern: str) -> re.Match:
    for _ in range(600):
        if file.exists() and (found := re.search(pattern, file.read_text())):
            return found
        time.sleep(0.5)
    raise TimeoutError(pattern)


def test_the_chain_runs_on_a_cluster_and_a_cancelled_training_goes_on(made, slurm):
    made.edit("params.yaml", "    max_steps: 12", f"    max_steps: {STEPS}")
    made.run(sys.executable, "-m", "llmill", "preset", "--set", "download.instruction=null")
    log = made.root / "results/logs/pretrain.log"
    first = subprocess.Popen(
        WORDS,
        cwd=made.root,
        env=environment(**slurm),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    wait_for(log, r"step \d+/")
    (number,) = [n for name, n in jobs(slurm).items() if "pretrain" in name]
    subprocess.run(["scancel", number], env=environment(**slurm), check=True)
    out = first.communicate(timeout=300)[0].decode()
    assert first.returncode == 1, out[-3000:]
    reached = int(re.findall(r"step (\d+)/", log.read_text())[-1])
    assert "stopped by signal 15; the same command continues from here" in log.read_text()
    made.run(*WORDS, **slurm)
    assert int(re.search(r"continues at step (\d+)", log.read_text())[1]) >= reached
    assert (made.root / "results/report/index.html").exists()
    assert clean(made)
    trained = [run.status for run in tracked_runs(made) if run.name == "pretrain"]
    assert trained == ["FINISHED"]


def test_what_eight_jobs_each_made_of_two_stages_is_taken_although_the_node_died_meanwhile(
    made, slurm, node, tmp_path
):
    made.run("dvc", "repro", "download")  # a job of slurm's takes half a minute
    words = (*WORDS, "--set-scatter", "prepare=8", "tokenize=8", "--", "data/tokenize/record.json")
    parts = made.root / "scratch/prepare/parts"
    with (tmp_path / "log").open("wb") as log:
        first = subprocess.Popen(
            words, cwd=made.root, env=environment(**slurm), stdout=log, stderr=log
        )
    while not (before := whole(parts)) and first.poll() is None:
        time.sleep(0.1)
    node.kill_node()
    assert 0 < len(before) < PARTS
    left = whole(parts)
    everything = {}
    node.start_node()  # slurm begins what waited, and again what the node took along
    while not (made.root / "data/prepare/record.json").exists() and first.poll() is None:
        if len(found := whole(parts)) == PARTS:
            everything = found
        time.sleep(0.05)
    first.wait(600)
    assert first.returncode == 0, (tmp_path / "log").read_text()[-3000:]
    assert everything.items() >= left.items()  # what was whole was not made again
    assert len(list(made.root.glob("results/logs/snakemake/*-part-*-of-8.log"))) == 16
    assert not [*made.root.glob("scratch/*/parts"), *made.root.glob("scratch/*/*.done")]
    alone = clone(tmp_path / "alone")
    alone.run("dvc", "repro", "tokenize")
    for stage in ("prepare", "tokenize"):
        assert outputs(made, stage) == outputs(alone, stage)


def whole(parts: Path) -> dict[str, int]:
    """Those that are there, and when each was made."""
    found = {}
    for part in parts.glob("*"):
        with contextlib.suppress(FileNotFoundError):  # the stage has ended
            if "." not in part.name:
                found[part.name] = (part / "rows").stat().st_mtime_ns
    return found


def outputs(chain: Clone, stage: str) -> dict:
    return json.loads((chain.root / f"data/{stage}/record.json").read_text())["outputs"]


def test_an_environment_in_a_path_with_a_space_is_refused_in_one_line_before_anything_is_submitted(
    tmp_path, slurm
):
    made = clone(tmp_path / "mill")
    (tmp_path / "an environment").symlink_to(sys.prefix)
    python = tmp_path / "an environment/bin/python"
    out = made.run(str(python), "-m", *WORDS, check=False, **slurm)
    assert out.splitlines()[-1] == (
        f"llmill: {python}: on slurm, Snakemake cannot start a Python in a path with a space; "
        "move the environment, or the repository with it"
    )
    assert jobs(slurm) == {}
