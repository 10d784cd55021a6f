"""Stop trainings under `snakemake`, `dvc repro` and `make run` in every way that a person or a
machine does, resume them, and compare the results with those of an undisturbed training.

    python benchmarks/stops.py --stops 40
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import psutil
import typer
import yaml
from filelock import FileLock, Timeout
from terminal import Terminal

from llmill import presets
from llmill.contract import yaml_file
from llmill.contract.record import sha256_file

ROOT = Path(__file__).parents[1]
BEFORE = "data/tokenize/record.json"
RECORD = "results/pretrain/record.json"
STEPS, SAVE_EVERY, VALIDATE_EVERY = 1000, 10, 50
PER_TRAINING = 5
LONGEST = 120  # most seconds until a training prints a line, or ends after a stop

DRIVERS = {
    "snakemake": ["snakemake", "--cores", "2", RECORD],
    "dvc repro": ["dvc", "repro", "pretrain"],
    "make run": ["make", "run"],
}
# For each way to stop: the most printed steps that may be lost, and whether it prints a last line.
KINDS = {
    "Ctrl-C": (0, True),
    "Ctrl-C twice": (0, True),
    "SIGTERM to the group": (0, True),
    "SIGHUP to the group": (0, True),
    "window closed": (0, False),
    "SIGKILL of the driver": (0, True),
    "SIGKILL of all": (SAVE_EVERY, False),
}

TRACKED = """
import json, mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
client = mlflow.MlflowClient()
found = []
for r in mlflow.search_runs(search_all_experiments=True, output_format="list"):
    if r.data.params.get("pretrain.samples.max_new_tokens") == "{tokens}":
        history = client.get_metric_history(r.info.run_id, "train_loss")
        found.append([r.info.status, sorted(at.step for at in history)])
print(json.dumps(found))
"""


@dataclass
class Outcome:
    """The outcome of a stop."""

    driver: str
    kind: str
    in_save: bool
    reached: int  # the last step that was printed
    line: bool  # whether the terminal showed "stopped by signal"


def main(
    stops: Annotated[int, typer.Option(help="Total number of stops.")] = 40,
    seed: Annotated[int, typer.Option(help="Seed for ways and moments.")] = 1,
) -> None:
    """Stop trainings. Exit with code 1 if too much was lost, or if a training ended differently."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "a clone"
        clone(root)
        tree = yaml_file.parse(presets.text("smoke", ROOT / "presets"))
        tree["pretrain"]["threads"] = 1
        tree["pretrain"]["training"] |= {
            "max_steps": STEPS,
            "log_every": 1,
            "validate_every": VALIDATE_EVERY,
            "checkpoint_every": SAVE_EVERY,
        }
        ways = [(driver, kind) for kind in KINDS for driver in DRIVERS]
        ways = (ways * -(-stops // len(ways)))[:stops]
        rng.shuffle(ways)
        write(root, tree, 0)
        finish(root)
        whole = ending(root)
        print(f"undisturbed: {STEPS} steps, weights {whole[0][:16]}", flush=True)
        wrong = 0
        for number, begin in enumerate(range(0, stops, PER_TRAINING), 1):
            write(root, tree, number)
            wrong += trained(root, ways[begin : begin + PER_TRAINING], number, whole, rng)
    print(f"{stops} stops: {wrong} wrong")
    sys.exit(1 if wrong else 0)


def clone(root: Path) -> None:
    """Copy the tracked files to a new repository that uses this repository's environment."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    (root / "dvc.lock").unlink(missing_ok=True)
    (root / ".venv").symlink_to(sys.prefix)
    (root / ".venv/ready").touch()  # `make run` sets nothing up
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)


def write(root: Path, tree: dict, number: int) -> None:
    """Write the parameters of a training, with the same weights and curve but a new fingerprint."""
    tree["pretrain"]["samples"]["max_new_tokens"] = 4 + number
    (root / "params.yaml").write_text(yaml.safe_dump(tree))


def environment() -> dict[str, str]:
    own = ("MLFLOW_", "LLMILL_", "DVC_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(own)}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    return {**kept, "PATH": path, "PYTHONPATH": "src", "GIT_CONFIG_GLOBAL": os.devnull}


def run(root: Path, *words: str) -> str:
    """Run a command that must succeed, and return its output."""
    done = subprocess.run(words, cwd=root, env=environment(), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def finish(root: Path) -> None:
    """Run the training to its end."""
    run(root, *DRIVERS["snakemake"])


def ending(root: Path) -> tuple[str, str]:
    """Return the hashes of the weights and of the curve."""
    folder = root / "results/pretrain"
    weights = folder / "checkpoint/model.safetensors"
    return sha256_file(weights), sha256_file(folder / "curves.csv")


def trained(
    root: Path, ways: list[tuple[str, str]], number: int, whole: tuple[str, str], rng: random.Random
) -> int:
    """Run one training and stop it in these ways; return the number of errors found."""
    wrong, before = 0, None
    for driver, kind in ways:
        terminal = Terminal(DRIVERS[driver], root, environment())
        wrong += continued(terminal, before)
        terminal.wait_for(r"pretrain: step \d+/", LONGEST)
        before = stopped(root, terminal, driver, kind, rng)
        if driver != "dvc repro":
            run(root, "snakemake", "--unlock")
    terminal = Terminal(DRIVERS["snakemake"], root, environment())
    wrong += continued(terminal, before)
    terminal.process.wait(LONGEST * 3)
    same = ending(root) == whole
    runs = tracked(root, 4 + number)
    one_run = runs == [["FINISHED", list(range(1, STEPS + 1))]]
    told = [f"{status}, {len(steps)} rows" for status, steps in runs]
    print(f"end {'the same' if same else 'DIFFERENT'}; MLflow: {'; '.join(told)}", flush=True)
    return wrong + (not same) + (not one_run)


def continued(terminal: Terminal, before: Outcome | None) -> int:
    """Wait for the training to continue; return whether the stop before lost more than it may."""
    if before is None:
        return 0
    step = int(terminal.wait_for(r"continues at step (\d+)", LONGEST)[1])
    may_lose, says = KINDS[before.kind]
    lost = max(0, before.reached - step)
    good = lost <= may_lose and (before.line or not says)
    print(
        f"{before.driver:9} {before.kind:22} {'in a save' if before.in_save else '':9} said step "
        f"{before.reached:4}, goes on at {step:4}, lost {lost:2}"
        f"{', said so' if before.line else ''}{'' if good else '  WRONG'}",
        flush=True,
    )
    return not good


def stopped(root: Path, terminal: Terminal, driver: str, kind: str, rng: random.Random) -> Outcome:
    """Stop a training after some more steps, at a step or within a save."""
    aim = last_step(terminal) + rng.randint(10, 100)
    while last_step(terminal) < aim:
        time.sleep(0.005)
    in_save = rng.random() < 0.5 and seen_saving(root)
    {
        "Ctrl-C": terminal.press,
        "Ctrl-C twice": lambda: (terminal.press(), time.sleep(0.3), terminal.press()),
        "SIGTERM to the group": lambda: terminal.send(signal.SIGTERM),
        "SIGHUP to the group": lambda: terminal.send(signal.SIGHUP),
        "window closed": terminal.close,
        "SIGKILL of the driver": lambda: driver_of(terminal, driver).kill(),
        "SIGKILL of all": lambda: terminal.send(signal.SIGKILL),
    }[kind]()
    reached = last_step(terminal)
    terminal.process.wait(LONGEST)
    wait_until_free(root)
    time.sleep(0.5)  # for the last lines
    reached = max(reached, last_step(terminal))
    return Outcome(driver, kind, in_save, reached, "stopped by signal" in terminal.text)


def driver_of(terminal: Terminal, driver: str) -> psutil.Process:
    """Return the process of dvc or snakemake; for `make run`, that of snakemake."""
    top = psutil.Process(terminal.process.pid)
    name = "dvc" if driver == "dvc repro" else "snakemake"
    for process in [top, *top.children(recursive=True)]:
        if any(os.path.basename(word) == name for word in process.cmdline()[:3]):
            return process
    raise LookupError(name)


def last_step(terminal: Terminal) -> int:
    said = re.findall(r"pretrain: step (\d+)/", terminal.text[-4000:])
    return int(said[-1]) if said else 0


def seen_saving(root: Path) -> bool:
    """Wait for a half-written state, which may vanish before it is seen; return whether it was."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        if list(root.glob("scratch/pretrain/*/state/*.tmp")):
            return True
    return False


def wait_until_free(root: Path) -> None:
    """Wait until no process runs the stage."""
    with contextlib.suppress(Timeout), FileLock(root / "scratch/pretrain/lock", timeout=LONGEST):
        return
    raise TimeoutError("the stage still runs")


def tracked(root: Path, tokens: int) -> list[list]:
    """Return the status and the steps of the MLflow runs of a training."""
    printed = run(root, sys.executable, "-c", TRACKED.format(tokens=tokens))
    return json.loads(printed.splitlines()[-1])


if __name__ == "__main__":
    typer.run(main)
