"""One process of a small training, for `test_parallel.py`."""

import contextlib
import hashlib
import json
import signal
from pathlib import Path

import torch

from llmill.contract import processes
from llmill.contract.errors import Stopped
from llmill.contract.hardware import Runtime
from llmill.model.cross_entropy import IGNORE
from llmill.model.transformer import Transformer
from llmill.runner.stopping import Stop
from llmill.training import parallel
from llmill.training.batches import Batch
from llmill.training.loop import Work, fit
from llmill.training.losses import token_loss
from llmill.training.settings import Optimizer, Training
from tests.conftest import preset
from tests.jobs import Job
from tests.training.recipe import schedule


class Batches:
    """Numbers that count up, and what was asked for."""

    n = 64

    def __init__(self, stop: Stop, steps: int):
        self.seen: dict[int, str] = {}
        self.stop, self.steps = stop, steps

    def get(self, start: int, count: int) -> Batch:
        rows = [(torch.arange(33) * (1 + i % 7) + i) % 61 for i in range(start, start + count)]
        for i, row in enumerate(rows):
            self.seen[start + i] = hashlib.sha256(row.numpy().tobytes()).hexdigest()[:16]
        if start // 8 == self.steps - 1 and processes.rank() == processes.count() - 1:
            self.stop.signum = signal.SIGTERM
        ids = torch.stack(rows)
        targets = ids[:, 1:].clone()
        for row, number in zip(targets, range(start, start + count), strict=True):
            row[: 6 * (number % 5)] = IGNORE  # no two processes learn from as many tokens
        weight = int((targets != IGNORE).sum())
        return Batch((ids[:, :-1],), targets, weight=weight, tokens=32 * count)


def main(folder: Path, kind: str, steps: int, end: int, optimizer: str) -> None:
    """Train for `end` steps, or stop after `steps` of them; write the curve and the batches seen."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    shape = preset("smoke").model
    model = Transformer(shape.model_copy(update={"block_size": 32, "dropout": 0.0}), 64)
    settings = Training(
        max_steps=end, epochs=None, batch_size=4, grad_accum_steps=2, grad_clip=1.0,
        optimizer=Optimizer(kind=optimizer, lr=3e-3, muon_lr=1e-2, weight_decay=0.01, betas=[0.9, 0.95]),
        schedule=schedule(decay="cosine", warmup_steps=2, decay_share=1.0, min_factor=0.1),
        log_every=1, validate_every=end, checkpoint_every=10_000,
    )  # fmt: skip
    stop = Stop()
    batches = Batches(stop, steps)
    job = Job(folder / f"out-{kind}-{processes.count()}-{processes.rank()}-{steps}")
    job.state, job.stop = folder / "state", stop

    def validate(model: torch.nn.Module, step: int) -> dict[str, float]:
        return {"mean": float(model(torch.arange(32)[None]).mean())}

    hardware = Runtime(device="cpu", dtype="float32")
    work = Work(batches, token_loss, validate, settings, hardware, 1, kind, begun=True)
    losses = []
    with parallel.together(torch.device("cpu")), contextlib.suppress(Stopped):
        losses = [row["train_loss"] for row in fit(model, work, job) if row["step"]]
    seen = folder / f"seen-{processes.count()}-{processes.rank()}.json"
    seen.write_text(json.dumps(batches.seen))
    if processes.main() and losses:
        (folder / "losses.json").write_text(json.dumps(losses))
