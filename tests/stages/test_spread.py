"""Stage pretrain in several processes, by the real command under torchrun: one process that dies,
a stop, and what the next start makes of their state.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest

from llmill.contract import record
from llmill.training.compilation import unusable
from tests.conftest import ROOT, copy_source, preset_text, write_code
from tests.stages import trainee
from tests.waiting import ended, until

COPIED = ("dvc.yaml", "requirements.lock")
CHANGED = {
    "block_size: 256": "block_size: 32",
    "max_length: 128": "max_length: 16",
    "max_steps: 12": "max_steps: 120",
    "threads: 2": "threads: 1",
}


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A repository of its own with tokens to train on."""
    root = tmp_path_factory.mktemp("template")
    copy_source(root)
    for name in COPIED:
        shutil.copy(ROOT / name, root)
    text = preset_text("smoke")
    for before, after in CHANGED.items():
        text = text.replace(before, after)
    (root / "params.yaml").write_text(text)
    trainee.tokens(root)
    write_code(root, "pretrain")
    (root / "data/download/init").mkdir(parents=True)
    record.write_json(root / "data/download/init/sources.json", [])
    set_parameters(root, processes=2)
    return root


@pytest.fixture
def repository(template: Path, tmp_path: Path) -> Path:
    """A copy of it, in a path with a space."""
    root = tmp_path / "a mill"
    subprocess.run(["cp", "-rp", template, root], check=True)
    return root


def set_parameters(root: Path, **values) -> None:
    """Change lines of section pretrain."""
    file = root / "params.yaml"
    before, section, after = re.split(r"(?m)(?=^pretrain:|^classify:)", file.read_text())
    for name, value in values.items():
        section = re.sub(rf"\b{name}: [\w.]+", f"{name}: {value}", section)
    file.write_text(before + section + after)


def start(root: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "llmill", "pretrain"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": "src", "LLMILL_TRACKING": "off"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_step(process: subprocess.Popen, step: int) -> None:
    """Read lines until the training has reached a step."""
    for line in process.stdout:
        found = re.search(r"step (\d+)/", line)
        if found and int(found[1]) >= step:
            return
    raise AssertionError(process.stderr.read())


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def workers(process: subprocess.Popen) -> list[psutil.Process]:
    """The processes that train, by their rank."""
    found = psutil.Process(process.pid).children()
    trained = [child for child in found if "RANK" in child.environ()]
    return sorted(trained, key=lambda child: int(child.environ()["RANK"]))


def test_a_process_that_dies_stops_the_others_and_one_process_can_go_on(repository):
    process = start(repository)
    until_step(process, 8)
    both = workers(process)
    assert len(both) == 2
    both[1].kill()
    code, _, err = finish(process)
    assert code == 1
    assert err.splitlines()[-1] == (
        "llmill: process 1 of 2 ended by signal 9; the others were stopped"
    )
    assert "Traceback" not in err
    assert not any(child.is_running() for child in both)
    assert not (repository / "results/pretrain").exists()
    set_parameters(repository, processes=1)
    code, out, _ = finish(start(repository))
    assert code == 0
    assert re.search(r"pretrain: continues at step \d+", out)
    assert record.read_json(repository / "results/pretrain/metrics.json")["steps"] == 120


def test_a_signal_to_the_launcher_saves_and_stops_them_all(repository):
    set_parameters(repository, checkpoint_every=10_000)  # so only the signal makes a state
    process = start(repository)
    until_step(process, 8)
    both = workers(process)
    process.send_signal(signal.SIGTERM)
    code, _, err = finish(process)
    assert code == 128 + signal.SIGTERM
    assert err.count("stopped by signal") == 1
    assert err.endswith("llmill: stopped by signal 15; the same command continues from here\n")
    assert "Traceback" not in err
    assert not any(child.is_running() for child in both)
    (state,) = (repository / "scratch/pretrain").glob("*/state/*.json")
    assert int(state.stem) >= 8
    set_parameters(repository, seed=2, parallel="fsdp", max_steps=12)
    code, out, _ = finish(start(repository))
    assert code == 0
    told = (
        r"with pretrain.parallel ddp, now fsdp; pretrain.seed 1, now 2; "
        r"pretrain.training.max_steps 120, now 12; not continued"
    )
    assert re.search(told, out)
    assert "continues at" not in out


def test_the_death_of_the_launcher_saves_and_stops_them_all_and_changes_nothing(repository):
    set_parameters(repository, checkpoint_every=10_000)
    process = start(repository)
    until_step(process, 8)
    both = workers(process)
    process.kill()
    until(lambda: all(map(ended, both)))
    (state,) = (repository / "scratch/pretrain").glob("*/state/*.json")
    assert 8 <= int(state.stem) < 120
    code, out, err = finish(start(repository))
    assert code == 0, err
    assert f"pretrain: continues at step {int(state.stem)}\n" in out
    continued = record.outputs(repository / "results/pretrain")
    shutil.rmtree(repository / "results/pretrain")
    code, out, err = finish(start(repository))
    assert code == 0, err
    assert "continues at" not in out
    assert record.outputs(repository / "results/pretrain") == continued


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.skipif(unusable() is not None, reason=f"torch.compile cannot use {unusable()}")
def test_two_compiled_processes_learn_what_two_plain_ones_learn(repository):
    file, losses = repository / "params.yaml", []
    file.write_text(re.sub(r"n_layer: \d+", "n_layer: 1", file.read_text()))  # compiling takes long
    for compiled in ("false", "true"):
        set_parameters(repository, max_steps=20, compile=compiled)
        code, _, err = finish(start(repository))
        assert code == 0, err
        curve = pd.read_csv(repository / "results/pretrain/curves.csv")
        losses.append(curve["train_loss"].tolist())
    plain, compiled = losses
    assert plain[-1] < plain[0] - 1
    assert compiled == pytest.approx(plain, abs=1e-4)


def test_more_processes_than_the_batch_can_be_divided_by_are_refused(repository):
    set_parameters(repository, processes=3)
    code, _, err = finish(start(repository))
    assert (code, err) == (
        1,
        "llmill: params.yaml: pretrain: training.batch_size 4 cannot be divided by processes 3\n",
    )


BROKEN = """
    from llmill.contract import processes
    from llmill.contract.errors import UserError
    if processes.rank() in {ranks}:
        raise {error}
"""


def test_a_mistake_is_said_once_whichever_process_finds_it(repository):
    """Which of several is the cause: tests/runner/test_cause.py."""
    break_pretrain(repository, (1,), "UserError('no luck today')")
    code, _, err = finish(start(repository))
    assert (code, err) == (1, "llmill: no luck today\n")
    assert not (repository / "results/pretrain").exists()


def test_a_fault_of_ours_shows_its_traceback_once(repository):
    break_pretrain(repository, (0, 1), "ValueError('odd')")
    code, _, err = finish(start(repository))
    assert code == 1
    assert err.startswith("Traceback (most recent call last):\n")
    assert err.count("Traceback") == 1
    assert err.endswith("ValueError: odd\n")


def break_pretrain(repository, ranks, error):
    stage = repository / "src/llmill/stages/pretrain.py"
    begun = re.search(r'(?s)\ndef run\(.*?""".*?"""\n', stage.read_text())[0]
    broken = begun + BROKEN.format(ranks=ranks, error=error).lstrip("\n")
    stage.write_text(stage.read_text().replace(begun, broken))
    write_code(repository, "pretrain")
