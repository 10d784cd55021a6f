"""Kills a training with SIGKILL at random moments, lets it go on, and compares the finished weights
with those of a training that nobody disturbed.

    python benchmarks/resume.py --kills 50
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
import yaml

from llmill import presets
from llmill.contract import yaml_file
from llmill.contract.record import sha256_file

ROOT = Path(__file__).parents[1]
COPIED = ("src", "dvc.yaml", "requirements.lock", "sources.yaml")
BEFORE = ("paths", "code", "download", "prepare", "tokenizer", "tokenize")
STEPS, SAVE_EVERY = 400, 4
WEIGHTS = "results/pretrain/checkpoint/model.safetensors"


def main(
    kills: Annotated[int, typer.Option(help="SIGKILLs in all.")] = 50,
    per_run: Annotated[int, typer.Option(help="Of one training, before it may finish.")] = 5,
    processes: Annotated[int, typer.Option(help="Of the training, under torchrun.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 1,
) -> None:
    """Exit code 1 if any finished training differs."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepare(root, processes)
        begun = time.monotonic()
        llmill(root, "pretrain").wait()
        whole, seconds = sha256_file(root / WEIGHTS), time.monotonic() - begun
        print(f"undisturbed: sha256 {whole[:16]}, {seconds:.0f} s", flush=True)
        done = in_saves = differing = 0
        while done < kills:
            forget(root)
            for _ in range(min(per_run, kills - done)):
                saving = rng.random() < 0.5
                in_saves += killed(root, rng, saving, seconds / (per_run + 1))
                done += 1
            llmill(root, "pretrain").wait()
            same = sha256_file(root / WEIGHTS) == whole
            differing += not same
            print(
                f"{done} kills, {in_saves} during a save: {'same' if same else 'DIFFERENT'}",
                flush=True,
            )
    sys.exit(1 if differing else 0)


def prepare(root: Path, processes: int) -> None:
    """A repository of its own with the smoke preset's data, and a training that saves often."""
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / name)
    tree = yaml_file.parse(presets.text("smoke", ROOT / "presets"))
    tree["pretrain"] |= {"threads": 1, "processes": processes}
    tree["pretrain"]["training"] |= {"max_steps": STEPS, "checkpoint_every": SAVE_EVERY}
    (root / "params.yaml").write_text(yaml.safe_dump(tree))
    for stage in BEFORE:
        if llmill(root, stage).wait():
            sys.exit(f"{stage} failed")


def llmill(root: Path, stage: str) -> subprocess.Popen:
    """Start a stage, its lines thrown away."""
    return subprocess.Popen(
        [sys.executable, "-m", "llmill", stage],
        cwd=root,
        env={**os.environ, "PYTHONPATH": "src"},
        stdout=subprocess.DEVNULL,
    )


def killed(root: Path, rng: random.Random, saving: bool, longest: float) -> bool:
    """Kill a training at a random moment; with `saving`, at a random moment within a save.

    Returns whether a save was under way. One that ends before is started anew from nothing.
    """
    process = llmill(root, "pretrain")
    until = time.monotonic() + rng.uniform(0, longest)
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.001)
    while saving and process.poll() is None and not under_way(root):
        time.sleep(0.0005)
    time.sleep(rng.uniform(0, 0.02) if saving else 0)
    if process.poll() is not None:
        forget(root)
        return killed(root, rng, saving, longest)
    process.kill()
    process.wait()
    return under_way(root)


def under_way(root: Path) -> bool:
    """Whether a state is half written."""
    states = {p.name for p in root.glob("scratch/pretrain/*/state/*")}
    return any(
        name.endswith(".tmp") or f"{name}.json" not in states
        for name in states
        if not name.endswith(".json")
    )


def forget(root: Path) -> None:
    """Remove what the training made."""
    shutil.rmtree(root / "results", ignore_errors=True)
    shutil.rmtree(root / "scratch/pretrain", ignore_errors=True)


if __name__ == "__main__":
    typer.run(main)
