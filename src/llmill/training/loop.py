"""The training loop. Pretraining, classification, instructions and scores differ only in batches,
loss and validation.

Input: a model, batches, a loss, a validation and settings. Output: the trained model and its curve,
with one row per logging interval.
"""

from __future__ import annotations

import csv
import io
import math
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from llmill.contract import processes, record, runtime
from llmill.contract.errors import Stopped
from llmill.contract.hardware import Runtime
from llmill.training import best, optimizer, parallel, resume
from llmill.training.batches import Batch, Batches
from llmill.training.compilation import compiled
from llmill.training.finite import Check
from llmill.training.losses import Called, Loss, token_loss
from llmill.training.meters import Meter
from llmill.training.prefetch import Feed
from llmill.training.progress import Figures, Row, TrainingProgress
from llmill.training.replay import ReplayedWindows
from llmill.training.reporter import Reporter
from llmill.training.schedule import factor
from llmill.training.settings import Best, Training

if TYPE_CHECKING:
    from llmill.contract.job import Job

Validate = Callable[[nn.Module, int], Figures]  # takes the model in evaluation mode, and the step


@dataclass(frozen=True)
class Work:
    """Everything that a training needs besides the model."""

    batches: Batches
    loss: Loss
    validate: Validate
    settings: Training
    hardware: Runtime
    seed: int
    spread: parallel.Kind = "ddp"
    compile: bool = False
    replay: ReplayedWindows | None = None
    best: Best | None = None  # null: keep the last state; only for training in one process
    begun: bool = False  # starts from trained weights: the curve has a validated row of step 0
    name: str = ""  # separates states and figures of a stage's trainings; begins with no digit

    def state(self, job: Job) -> Path:
        """Return the folder of the states from which the training resumes."""
        return job.state / self.name


def fit(model: nn.Module, work: Work, job: Job, meter: Meter | None = None) -> list[Row]:
    """Train the model in place and return the curve. Training continues from the newest state in
    the job's scratch folder.

    Under torchrun every process calls this, inside `parallel.together`. Raises `UserError` for a
    loss that is not finite, and `Stopped` after a signal, once the state is saved.
    """
    if warning := runtime.warning(work.hardware):
        job.say(warning)
    run = _Run(model, work, job, meter or Meter(0.0, 0.0))
    # A signal waits for the end of the step, so that a saved state is always a whole step.
    with job.stop.deferred():
        while run.progress.step < run.end:
            stopped = run.step()
            run.log_and_save(stopped != 0)
            if stopped:
                raise Stopped(stopped)
        if stopped := _asked_to_stop(job):  # in the last step, whose state is saved
            raise Stopped(stopped)
    if work.best and run.end:
        best.restore(run.state, model, run.progress.curve, work.best)
    return run.progress.curve


def length(settings: Training, examples: int) -> int:
    """Return the number of steps: `max_steps`, or those of `epochs` passes over the examples."""
    if settings.max_steps is not None:
        return settings.max_steps
    assert settings.epochs is not None, "the schema gives one of the two"
    passes = Fraction(str(settings.epochs))  # exact; in floats, 1.1 * 400 is more than 440
    return math.ceil(passes * examples / (settings.batch_size * settings.grad_accum_steps))


def write_curve(path: Path, curve: list[Row]) -> None:
    """Write the curve as CSV. A figure that was not measured at a step is empty."""
    columns = list(dict.fromkeys(name for row in curve for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in curve
    )
    record.write_bytes(path, text.getvalue().encode())


class _Run:
    """A training in progress."""

    def __init__(self, model: nn.Module, work: Work, job: Job, meter: Meter):
        """Begin the training, or continue it from its newest state."""
        self.model, self.work, self.job, self.meter = model, work, job, meter
        self.state, self.reporter = work.state(job), Reporter(job, work.name)
        self.device = runtime.device(work.hardware)
        model.to(self.device)
        saved, damaged = resume.newest(self.state)
        # Before `wrap`: a sharded model cannot be validated until it has been trained.
        first = self._first() if work.begun and saved is None else None
        wrapped = parallel.wrap(model, work.spread)
        # Sharding replaces the parameters, so the optimizers are built after it.
        self.optimizers = optimizer.build(model, work.settings.optimizer)
        for folder in damaged:
            job.say(f"{folder}: damaged, passed over")
        self.progress = self._restored(saved) if saved else TrainingProgress()
        if first:
            self._add(first, validated=True)
        called = compiled(wrapped) if work.compile else wrapped
        self.gradients = _Gradients(called, wrapped, work.hardware, meter)
        self.unread = _Unread()
        self.check = Check(self.device, self.state)
        self.end = self._end()
        size, micro = work.settings.batch_size, work.settings.grad_accum_steps
        feed = Feed(work.batches, size, micro, self.device)
        self.batches = feed.steps(self.progress.step, self.end)
        # The countdown prints no lines, because the log has the rows of the curve.
        self.countdown = job.countdown(self.end, "steps", self.progress.step, lines=False)
        self.note = ""  # beside the countdown
        meter.begin()

    def step(self) -> int:
        """Train one step, and return the signal to stop by, or 0."""
        settings, progress = self.work.settings, self.progress
        with self.meter.part("data"):
            micro = next(self.batches)
        # Seeded again in each step, so that a resumed run has the same dropout.
        torch.manual_seed(_seed(self.work.seed, progress.step))
        self.model.train()
        optimizer.set_rate(self.optimizers, factor(progress.step, settings.schedule, self.end))
        # All processes must stop at the same step, or the others would wait forever.
        weight, tokens, stopped = _agreed(micro, self.job)
        self.unread.task.append(self.gradients.add(micro, weight, self.work.loss))
        replayed = self._replay()
        nothing = weight == 0 and not replayed  # the loss mask excludes every target
        with self.meter.part("optimizer"):
            self._update(nothing)
        progress.skipped += nothing
        progress.step += 1
        progress.tokens += tokens
        self.meter.count(tokens)
        self.countdown.at(progress.step, self.note)
        return stopped

    def log_and_save(self, stopped: bool) -> None:
        """Add and report a row of the curve, and save a state, if they are due after this step. A
        state is always due if the training was asked to stop.
        """
        settings, progress = self.work.settings, self.progress
        last = progress.step == self.end
        logging = progress.step % settings.log_every == 0 or last
        saving = progress.step % settings.checkpoint_every == 0 or last or stopped
        # Checked before anything is written, so no row or state has a loss that is not finite.
        if logging or saving:
            self.check.all()
            self.unread.move_to(progress)
        if logging:
            figures = self.meter.read()
            with self.meter.apart():
                self._log()
            if best.in_vain(progress.curve, self.work.best):
                self.end, saving = progress.step, True
        if saving:
            with self.meter.apart():
                self._save()
        if logging:  # after saving: a broken terminal or tracker must not cost the state
            with self.meter.apart():
                self.note = self.reporter.row(progress.curve[-1], figures, self.countdown)

    def _first(self) -> Row:
        """Validate before the first step, and return the row of step 0."""
        figures = self._validated(0)
        self.reporter.first(figures)
        return {"step": 0, "tokens": 0, "lr": None, "train_loss": None} | figures

    def _restored(self, saved: Path) -> TrainingProgress:
        progress = resume.restore(saved, self.model, self.optimizers)
        self.reporter.resumed(progress)
        return progress

    def _end(self) -> int:
        """Return the number of steps after which the training ends, unless it stops early."""
        settings = self.work.settings
        end, warmup = length(settings, self.work.batches.n), settings.schedule.warmup_steps
        if 0 < end <= warmup:
            self.job.say(
                f"warning: the warm-up ({warmup} steps) takes all {end} steps, which end at "
                f"{end / warmup:.0%} of the peak rate; lower schedule.warmup_steps, or train longer"
            )
        # The resumed run may have stopped early already.
        return self.progress.step if best.in_vain(self.progress.curve, self.work.best) else end

    def _replay(self) -> bool:
        """Add the gradients of the batch to replay at this step; return whether there is one."""
        batch = self.work.replay.at(self.progress.step) if self.work.replay else None
        if batch is None:
            return False
        weight, tokens = parallel.total([batch.weight, batch.tokens])
        loss = self.gradients.add([batch.to(self.device)], weight, token_loss)
        self.unread.replayed.append(loss)
        self.meter.count(int(tokens))  # for the speed; the curve's tokens are those of the task
        return True

    def _update(self, nothing: bool) -> None:
        """Change the weights by their gradients, unless `nothing` was learnt from."""
        norm = parallel.clip(self.model, self.work.settings.grad_clip)
        self.check(self.unread.task[-1], norm, self.progress.step)
        for each in self.optimizers:
            if not nothing:
                each.step()
            each.zero_grad(set_to_none=True)

    def _log(self) -> None:
        """Add a row to the curve, with the figures of a validation if one is due."""
        progress = self.progress
        row: Row = {
            "step": progress.step,
            "tokens": progress.tokens,
            "lr": self.optimizers[-1].param_groups[0]["lr"],
            "train_loss": sum(progress.losses) / len(progress.losses),
        }
        if progress.replayed:
            row["replay_loss"] = sum(progress.replayed) / len(progress.replayed)
        if progress.skipped:
            row["skipped_steps"] = progress.skipped
        progress.losses, progress.replayed = [], []
        due = progress.step % self.work.settings.validate_every == 0 or progress.step == self.end
        if due:
            row |= self._validated(progress.step)
        self._add(row, validated=due)

    def _add(self, row: Row, validated: bool) -> None:
        """Add a row to the curve, and keep the weights if it is the best validated one."""
        self.progress.curve.append(row)
        if validated and self.work.best:
            best.keep(self.state, self.model, self.progress.curve, self.work.best)

    def _validated(self, step: int) -> Figures:
        self.model.eval()
        with torch.inference_mode():
            return self.work.validate(self.model, step)

    def _save(self) -> None:
        resume.save(self.state, self.model, self.optimizers, self.progress)
        if self.work.best:
            best.tidy(self.state, resume.curves(self.state), self.work.best)


@dataclass(frozen=True)
class _Gradients:
    """Adds up the gradients of a step."""

    called: Called  # the wrapped model, compiled if the settings say so
    wrapped: nn.Module
    hardware: Runtime
    meter: Meter

    def add(self, micro: list[Batch], weight: float, loss: Loss) -> Tensor:
        """Add the gradients of micro-batches, whose weight over all processes is `weight`. Return
        this process's part of their mean loss, ().

        Wrapped models average gradients over the processes, so each process scales its part up
        first.
        """
        parts: list[Tensor] = []
        for number, batch in enumerate(micro):
            with parallel.synchronised(self.wrapped, number == len(micro) - 1):
                with self.meter.part("forward"), runtime.autocast(self.hardware):
                    part = loss(self.called, batch) / max(weight, 1e-8)
                with self.meter.part("backward"):
                    (part * processes.count()).backward()
            parts.append(part.detach())
        return torch.stack(parts).sum(dtype=torch.float64)


@dataclass
class _Unread:
    """The losses of the last steps. They stay on the device, because reading one would wait for
    it.
    """

    task: list[Tensor] = field(default_factory=list)
    replayed: list[Tensor] = field(default_factory=list)

    def move_to(self, progress: TrainingProgress) -> None:
        """Read the losses, and add them to the progress, summed over the processes."""
        progress.losses += parallel.total([float(loss) for loss in self.task])
        progress.replayed += parallel.total([float(loss) for loss in self.replayed])
        self.task, self.replayed = [], []


def _seed(seed: int, step: int) -> int:
    """Return the random seed of a step, which depends only on run, step and process."""
    mixed = np.random.SeedSequence([seed, step, processes.rank()])
    return int(mixed.generate_state(1, np.uint64)[0])


def _agreed(micro: list[Batch], job: Job) -> tuple[float, int, int]:
    """Return the step's weight and tokens over all processes, and the signal to stop by, or 0."""
    own_weight = float(sum(batch.weight for batch in micro))
    own_tokens = sum(batch.tokens for batch in micro)
    own = [own_weight, own_tokens, job.stop.signum is not None]
    weight, tokens, stops = parallel.total(own)
    return weight, int(tokens), _signal(job) if stops else 0


def _asked_to_stop(job: Job) -> int:
    """Return the signal that any of the processes got, or 0; the same in all processes."""
    (stops,) = parallel.total([job.stop.signum is not None])
    return _signal(job) if stops else 0


def _signal(job: Job) -> int:
    """Return the signal that this process got, or the one that torchrun would have passed to it."""
    return job.stop.signum or signal.SIGTERM
