"""Tokens per second of the world preset's training step, alone and beside one busy process, with
the default waiting of OpenMP's threads and with llmill's setting.

    python benchmarks/beside.py --rounds 5 --seconds 15
"""

import os
import random
import subprocess
import sys
import time
from statistics import median
from typing import Annotated

import typer

from llmill.contract import openmp

STEPS = "import sys, beside; print(beside.steps(float(sys.argv[1])))"
BUSY = "while True: pass"
WAITS = {"by itself": {}, f"GOMP_SPINCOUNT={openmp.SPINS}": {"GOMP_SPINCOUNT": openmp.SPINS}}


def main(
    rounds: Annotated[int, typer.Option(help="Rounds of all four, in random order.")] = 5,
    seconds: Annotated[float, typer.Option(help="Seconds of steps, each time.")] = 15.0,
    seed: int = 1,
) -> None:
    """Print the median and the range for each way to wait, alone and beside a busy process."""
    rng = random.Random(seed)
    speeds: dict[tuple[str, bool], list[float]] = {}
    for _ in range(rounds):
        order = [(wait, busy) for wait in WAITS for busy in (False, True)]
        rng.shuffle(order)
        for wait, busy in order:
            speeds.setdefault((wait, busy), []).append(tokens_per_second(wait, busy, seconds))
    for (wait, busy), values in sorted(speeds.items()):
        company = "beside a busy process" if busy else "alone"
        low, high = min(values), max(values)
        print(f"{wait}, {company}: {median(values):,.0f} ({low:,.0f} to {high:,.0f}) tokens/s")


def tokens_per_second(wait: str, busy: bool, seconds: float) -> float:
    """Return the speed of a separate process that trains for this many seconds."""
    kept = {k: v for k, v in os.environ.items() if k not in openmp.CHOSEN_BY_USER}
    other = subprocess.Popen([sys.executable, "-c", BUSY]) if busy else None
    try:
        command = [sys.executable, "-c", STEPS, str(seconds)]
        environment = kept | WAITS[wait] | {"PYTHONPATH": os.pathsep.join(sys.path)}
        return float(subprocess.check_output(command, env=environment, text=True))
    finally:
        if other:
            other.kill()
            other.wait()


def steps(seconds: float) -> float:
    """Return tokens per second for the world's shape and batch, after a second of warm-up."""
    import training  # loads torch, which reads the variables above at its start

    shape = training.Shape(4096, 8, training.SHAPES["small"].sizes)
    training.set_up(keep_memory=True)
    step = training.training("llmill-modern", shape)
    for length in (1.0, seconds):
        begun, taken = time.monotonic(), 0
        while (now := time.monotonic()) < begun + length:
            step()
            taken += 1
    return taken * shape.batch_size * training.BLOCK_SIZE / (now - begun)


if __name__ == "__main__":
    typer.run(main)
