"""Shared by time_to_loss.py, recipes.py and gpu.py: tokens in memory as shards, recipes, and
training with llmill's engine outside of a stage.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import nn

from llmill.contract import runtime
from llmill.contract.countdown import Countdown
from llmill.contract.hardware import Runtime
from llmill.model.settings import Model
from llmill.model.transformer import Transformer
from llmill.runner import params
from llmill.runner.stopping import Stop
from llmill.text.tokenization.shards import Shards
from llmill.training.batches import Windows
from llmill.training.loop import Work, fit, length
from llmill.training.losses import token_loss
from llmill.training.meters import Meter
from llmill.training.progress import Figures
from llmill.training.settings import Optimizer, Schedule, Training
from llmill.training.short_rows import ShortRows

WORLD = Path(__file__).parents[1] / "presets" / "world.yaml"


@dataclass(frozen=True)
class Recipe:
    """A model's shape and its training settings."""

    model: Model
    training: Training
    shorten_rows: Sequence[int] = (1,)  # as in pretrain


def sequence(ids: np.ndarray, vocab: int) -> Shards:
    """Return tokens in memory, (tokens,), as one shard with one document."""
    return Shards(
        vocab,
        len(ids),
        1,
        len(ids),
        [ids],
        np.array([len(ids)]),
        [0, len(ids)],
        [""],
        np.zeros(1, int),
    )


def schedule(**values: Any) -> Schedule:
    """Return the world preset's schedule with changes."""
    kept = params.load(WORLD).pretrain.training.schedule.model_dump()
    return Schedule(**kept | values)


def settings(
    steps: int, batch: int, optimizer: Optimizer, schedule: Schedule, every: int | None = None
) -> Training:
    """Return settings for `steps` steps that validate only at the end, and log and save every
    `every` steps, or by default only at the end.
    """
    return Training(
        max_steps=steps, epochs=None, batch_size=batch, grad_accum_steps=1, grad_clip=1.0,
        optimizer=optimizer, schedule=schedule,
        log_every=every or steps, validate_every=steps, checkpoint_every=every or steps,
    )  # fmt: skip


def train(
    model: nn.Module, work: Work, folder: Path, meter: Meter | None = None
) -> tuple[list[Figures], list[Figures]]:
    """Train in place, from the state in the folder if there is one. Return the curve, and the
    figures that the tracker gets for each row.
    """
    tracked: list[Figures] = []
    job = SimpleNamespace(
        state=folder, stop=Stop(), say=lambda text: None,
        countdown=partial(Countdown, "benchmark"),
        track=SimpleNamespace(metrics=lambda values, step=None: tracked.append(values)),
    )  # fmt: skip
    return fit(model, work, job, meter), tracked


def trained(
    recipe: Recipe, shards: Shards, hardware: Runtime, threads: int, seed: int
) -> tuple[Transformer, float]:
    """Train a new model on windows of the shards; return it and the seconds of its training."""
    runtime.start(seed, threads)
    model = Transformer(recipe.model, shards.n_vocab)
    windows, settings = Windows(shards, recipe.model.block_size, seed), recipe.training
    per_step = settings.batch_size * settings.grad_accum_steps
    rows = ShortRows(windows, recipe.shorten_rows, length(settings, windows.n), per_step)
    work = Work(rows, token_loss, lambda model, step: {}, settings, hardware, seed)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        train(model, work, Path(folder))
        return model, time.perf_counter() - begun
