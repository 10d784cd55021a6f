"""What time_to_loss.py and gpu.py share: tokens in memory as shards, settings, and a training by
llmill's engine outside of a stage.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from torch import nn

from llmill.contract.schema import Optimizer, Schedule, Training
from llmill.contract.stopping import Stop
from llmill.text.shards import Shards
from llmill.training.loop import Work, fit
from llmill.training.meters import Meter
from llmill.training.progress import Figures


def sequence(ids: np.ndarray, vocab: int) -> Shards:
    """Tokens in memory as one shard of one document."""
    return Shards(vocab, len(ids), 1, len(ids), [ids], np.array([len(ids)]), [0, len(ids)])


def settings(
    steps: int, batch: int, optimizer: Optimizer, schedule: Schedule, every: int | None = None
) -> Training:
    """`steps` steps, validated at the end alone; logged and saved so often, or there too."""
    return Training(
        max_steps=steps, epochs=None, batch_size=batch, grad_accum_steps=1, grad_clip=1.0,
        optimizer=optimizer, schedule=schedule,
        log_every=every or steps, validate_every=steps, checkpoint_every=every or steps,
    )  # fmt: skip


def train(
    model: nn.Module, work: Work, folder: Path, meter: Meter | None = None
) -> tuple[list[Figures], list[Figures]]:
    """Train in place, from the state in the folder if there is one; returns the curve and what the
    tracker gets of each row.
    """
    tracked: list[Figures] = []
    job = SimpleNamespace(
        state=folder, stop=Stop(), say=lambda text: None,
        track=SimpleNamespace(metrics=lambda values, step=None: tracked.append(values)),
    )  # fmt: skip
    return fit(model, work, job, meter), tracked
