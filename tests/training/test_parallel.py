"""Trainings of several real processes over gloo: the same losses, the same data, states that any
number of processes can go on from.
"""

import json
import multiprocessing
import os
import socket
from pathlib import Path

import pytest

from tests.training import spread

END = 50

# A server that has torch imported, of which every process is a fork: the import takes seconds.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.training.spread"])


def train(folder: Path, processes: int, kind: str, steps: int = 0, optimizer: str = "muon") -> None:
    """Run a training of `END` steps in so many processes, stopped after `steps` if given."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(processes),
        "TORCHELASTIC_RUN_ID": "test",
        "OMP_NUM_THREADS": "1",
    }
    words = (folder, kind, steps, END, optimizer)
    running = [
        FORKS.Process(
            target=one_of,
            args=(together | {"RANK": str(n), "LOCAL_RANK": str(n)}, words),
            daemon=True,
        )
        for n in range(processes)
    ]
    try:
        for process in running:
            process.start()
        for process in running:
            process.join(300)
        assert [process.exitcode for process in running] == [0] * processes
    finally:
        for process in running:  # which wait for one that failed
            process.kill()


def one_of(variables: dict[str, str], words: tuple) -> None:
    """What a process of a training does."""
    os.environ.update(variables)
    spread.main(*words)


def losses(folder: Path) -> list[float]:
    return json.loads((folder / "losses.json").read_text())


def seen(folder: Path) -> dict[str, str]:
    """The hash of every example, by its place in the run."""
    files = sorted(folder.glob("seen-*.json"))
    parts = [json.loads(file.read_text()) for file in files]
    assert sum(map(len, parts)) == len({place for part in parts for place in part})
    return {place: found for part in parts for place, found in part.items()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    train(folder, 1, "ddp")
    return folder


@pytest.mark.parametrize(("processes", "kind"), [(2, "ddp"), (4, "ddp"), (2, "fsdp"), (4, "fsdp")])
def test_any_number_of_processes_gives_the_same_losses_from_the_same_data(
    tmp_path, alone, processes, kind
):
    train(tmp_path, processes, kind)
    assert losses(tmp_path) == pytest.approx(losses(alone), abs=1e-5)
    assert len(losses(tmp_path)) == END
    assert seen(tmp_path) == seen(alone)
    assert len(seen(alone)) == END * 8


@pytest.mark.parametrize(
    ("before", "after"), [((2, "ddp"), (1, "ddp")), ((2, "fsdp"), (1, "ddp")), ((1, "ddp"), (2, "fsdp"))]
)  # fmt: skip
def test_a_run_goes_on_with_another_number_of_processes_on_the_same_curve(
    tmp_path, alone, before, after
):
    train(tmp_path, *before, steps=20)
    assert not (tmp_path / "losses.json").exists()
    train(tmp_path, *after)
    assert losses(tmp_path) == pytest.approx(losses(alone), abs=1e-5)
