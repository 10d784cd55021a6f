"""Kill trainings with SIGKILL at random moments, resume them, and compare every file of the results
with the files of an undisturbed training.

    python benchmarks/resume.py --kills 50
    python benchmarks/resume.py --kills 20 "classify@all classify.seeds=[1,2]" prefer

A training is a stage of one process, followed by changes of the parameters, as in `llmill preset
--set`. The undisturbed training is started as a user would start it. The killed ones are forks of
this process, which has already loaded the modules that are slow to load.
"""

import faulthandler
import importlib
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Annotated

import psutil
import typer

from llmill import presets
from llmill.contract import pipeline
from llmill.contract.pipeline import Stage
from llmill.contract.record import files_under, sha256_file

ROOT = Path(__file__).parents[1]
LINKED = ("src", "own", "dvc.yaml", "requirements.lock", "sources.yaml")
LOADED = ("mlflow.store.tracking.sqlalchemy_store", "llmill.training.loop", "llmill.runner.stage")
FOLDERS = {"data": "data", "results": "results"}
CHANGES = {  # for every training: short, on one thread, and with frequent saves and validations
    "threads": 1,
    "training.max_steps": 80,
    "training.epochs": "null",
    "training.log_every": 5,
    "training.validate_every": 10,
    "training.checkpoint_every": 4,
}

# Module and function of `llmill.training` that is running in each place; the first match counts.
ELSEWHERE = "elsewhere"
PLACES = {
    ELSEWHERE: {("loop", "_restored")},
    "save": {("resume", "save"), ("best", "keep")},
    "validation": {("loop", "_validated")},
    "step": {("loop", "fit")},
}
START = "start-up"
AIMS = {START: 1, "save": 3, "validation": 2, "whenever": 4}  # of ten kills
WITHIN = 0.02  # most seconds between seeing a save or a validation and the kill


def main(
    trainings: Annotated[list[str] | None, typer.Argument(help="'STAGE KEY=VALUE ...'")] = None,
    kills: Annotated[int, typer.Option(help="SIGKILLs per training.")] = 50,
    per_run: Annotated[int, typer.Option(help="Most kills before a run may finish.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed for the moments.")] = 1,
) -> None:
    """Kill and compare trainings. Exit with code 1 if any finished result differs."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # forks inherit it until they can answer
    os.environ["MLFLOW_TRACKING_URI"] = "none://"  # off, because it takes most of the start
    rng, differing = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in LINKED:
            (root / name).symlink_to(ROOT / name)
        for name in LOADED:
            importlib.import_module(name)
        for training in trainings or ["pretrain"]:
            stage = prepare(root, training)
            print(training, flush=True)
            differing += differ(root, stage, rng, kills, per_run)
            forget(root, stage)
    sys.exit(1 if differing else 0)


def differ(root: Path, stage: Stage, rng: random.Random, kills: int, per_run: int) -> int:
    """Kill the runs of a training, and return how many of them ended with other files."""
    seconds = undisturbed(root, stage)
    whole = hashes(root, stage)
    print(f"  undisturbed: {len(whole)} files, {seconds:.1f} s from the first state", flush=True)
    places: Counter[str] = Counter()
    done = differing = 0
    while done < kills:
        forget(root, stage)
        for _ in range(min(per_run, kills - done)):
            places[killed(root, stage, rng, 1.5 * seconds / (per_run + 1))] += 1
            done += 1
        process = forked(root, stage)
        process.join()
        if process.exitcode:
            sys.exit(f"{stage.address} failed: {said(root).read_text()}")
        ended = hashes(root, stage)
        others = sorted(n for n in ended.keys() | whole.keys() if ended.get(n) != whole.get(n))
        differing += bool(others)
        fell = ", ".join(f"{place} {n}" for place, n in places.most_common())
        told = f"DIFFERENT: {', '.join(others)}" if others else "the same"
        print(f"  {done} kills ({fell}): {told}", flush=True)
    return differing


def prepare(root: Path, training: str) -> Stage:
    """Write the parameters of the smoke preset with changes, and run the stages before this one."""
    address, *changes = re.split(r" (?=[\w.]+=)", training)
    stages = pipeline.load({"paths": FOLDERS}, root / "dvc.yaml")
    stage = stages[address]
    own = [f"{stage.name}.{key}={value}" for key, value in CHANGES.items()]
    smoke = presets.text("smoke", ROOT / "presets")
    (root / "params.yaml").write_text(presets.changed(smoke, own + changes))
    before, waiting = {"paths", "code"}, [stage]
    while waiting:
        parents = [each.address for each in pipeline.parents(stages, waiting.pop())]
        before |= set(parents)
        waiting += [stages[address] for address in parents]
    for address, each in stages.items():
        if address in before and not (root / each.out / "record.json").exists():
            undisturbed(root, each)
    return stage


def undisturbed(root: Path, stage: Stage) -> float:
    """Run a stage to its end. Return the CPU seconds since the first state of its training."""
    words = [stage.name, *filter(None, [stage.variant])]
    with said(root).open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "llmill", *words],
            cwd=root,
            env={**os.environ, "PYTHONPATH": "src"},
            stdout=subprocess.DEVNULL,
            stderr=file,
        )
    begun, now, scratch = None, 0.0, root / "scratch" / stage.address
    while process.poll() is None:
        now = used(process.pid)
        begun = now if begun is None and any(scratch.glob("*/state/*")) else begun
        time.sleep(0.01)
    if process.returncode:
        sys.exit(f"{stage.address} failed: {said(root).read_text()}")
    return now - (begun or 0.0)


def used(pid: int | None) -> float:
    """Return the CPU seconds of a process, which other processes do not affect."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def forked(root: Path, stage: Stage) -> ForkProcess:
    """Start a stage and discard its output. On SIGUSR1 it writes its running functions to the file
    `said`.
    """
    said(root).write_bytes(b"")
    process = multiprocessing.get_context("fork").Process(target=run, args=(root, stage))
    process.start()
    return process


def run(root: Path, stage: Stage) -> None:
    """Run a stage in a fork."""
    from llmill.__main__ import main as llmill

    file = said(root).open("w")
    faulthandler.register(signal.SIGUSR1, file, all_threads=False)
    print("listening", file=file, flush=True)
    os.dup2(file.fileno(), sys.stderr.fileno())
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    os.chdir(root)
    sys.argv = ["llmill", stage.name, *filter(None, [stage.variant])]
    llmill()


def said(root: Path) -> Path:
    """Return the file with the standard error of the stage that was started last."""
    return root / "said"


def killed(root: Path, stage: Stage, rng: random.Random, longest: float) -> str:
    """Kill a training at a random moment or in a chosen place, and return where it was. A training
    that ends before the kill is started again from scratch.
    """
    (aim,) = rng.choices(list(AIMS), list(AIMS.values()))
    process = forked(root, stage)
    while aim != START and process.is_alive() and doing(root, process) == ELSEWHERE:
        time.sleep(0.02)
    left = rng.uniform(0, longest)
    until = left + used(process.pid) if process.is_alive() else 0
    while process.is_alive() and used(process.pid) < until:
        time.sleep(0.001)
    while aim in PLACES and process.is_alive() and doing(root, process) != aim:
        time.sleep(0.001)
    time.sleep(rng.uniform(0, WITHIN) if aim in PLACES else 0)
    place = doing(root, process)
    if not process.is_alive():
        forget(root, stage)
        return killed(root, stage, rng, longest)
    process.kill()
    process.join()
    return START if aim == START and place == ELSEWHERE else place


def doing(root: Path, process: ForkProcess) -> str:
    """Return the place where a stage is, or `ELSEWHERE` if it is not training or not listening."""
    before, told = said(root).stat().st_size, ""
    if process.is_alive() and before:
        os.kill(process.pid or 0, signal.SIGUSR1)
    while "in <module>" not in told and process.is_alive() and before:
        time.sleep(0.0002)
        told = said(root).read_bytes()[before:].decode(errors="replace")
    under_way = set(re.findall(r'/training/(\w+)\.py", line \d+ in (\w+)', told))
    return next((place for place, known in PLACES.items() if known & under_way), ELSEWHERE)


def hashes(root: Path, stage: Stage) -> dict[str, str]:
    """Return the hash of every file of the result, including its record."""
    folder = root / stage.out
    return {p.relative_to(folder).as_posix(): sha256_file(p) for p in files_under(folder)}


def forget(root: Path, stage: Stage) -> None:
    """Remove the results and states of the training."""
    shutil.rmtree(root / stage.out, ignore_errors=True)
    shutil.rmtree(root / "scratch" / stage.address, ignore_errors=True)


if __name__ == "__main__":
    typer.run(main)
