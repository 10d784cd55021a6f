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
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from llmill.contract import printable, processes, record, runtime
from llmill.contract.errors import Stopped, UserError
from llmill.contract.hardware import Runtime
from llmill.training import best, optimizer, parallel, resume
from llmill.training.batches import Batch, Batches
from llmill.training.compilation import compiled
from llmill.training.losses import Called, Loss, token_loss
from llmill.training.meters import Meter
from llmill.training.optimizer import Optimizers
from llmill.training.prefetch import Feed
from llmill.training.progress import Figures, Row, TrainingProgress
from llmill.training.replay import ReplayedWindows
from llmill.training.schedule import factor
from llmill.training.settings import Best, Training

if TYPE_CHECKING:
    from llmill.contract.countdown import Countdown
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
    name: str = ""  # if a stage has several trainings: separates their states and figures

    def state(self, job: Job) -> Path:
        """Return the folder of the states from which the training resumes."""
        return job.state / self.name


def fit(model: nn.Module, work: Work, job: Job, meter: Meter | None = None) -> list[Row]:
    """Train the model in place and return the curve. Training continues from the newest state in
    the job's scratch folder.

    Under torchrun every process calls this, inside `parallel.together`. Raises `UserError` for a
    loss that is not finite, and `Stopped` after a signal, once the state is saved.
    """
    device = runtime.device(work.hardware)
    settings, meter = work.settings, meter or Meter(0.0, 0.0)
    if warning := runtime.warning(work.hardware):
        job.say(warning)
    model.to(device)
    state = work.state(job)
    fresh = work.begun and resume.newest(state)[0] is None
    # Before `wrap`: a sharded model cannot be validated until it has been trained.
    first = [_first(model, work, job)] if fresh else []
    # Sharding replaces the parameters, so the optimizers are built after it.
    wrapped = parallel.wrap(model, work.spread)
    optimizers = optimizer.build(model, settings.optimizer)
    progress = _restored(work, job, model, optimizers)
    progress.curve += first
    if first and work.best:
        best.keep(state, model, progress.curve, work.best)
    called: Called = compiled(wrapped) if work.compile else wrapped
    end = length(settings, work.batches.n)
    if 0 < end <= settings.schedule.warmup_steps:
        job.say(
            f"warning: the warm-up ({settings.schedule.warmup_steps} steps) takes all {end} steps, "
            f"which end at {end / settings.schedule.warmup_steps:.0%} of the peak rate; lower "
            "schedule.warmup_steps, or train longer"
        )
    if best.in_vain(progress.curve, work.best):  # the resumed run had already stopped early
        end = progress.step
    feed = Feed(work.batches, settings.batch_size, settings.grad_accum_steps, device)
    steps = feed.steps(progress.step, end)
    # These losses stay on the device, because reading one would wait for it.
    unread: list[Tensor] = []
    unread_replayed: list[Tensor] = []
    check = Check(device, state)
    # The countdown prints no lines, because the log has the rows of the curve.
    countdown = job.countdown(end, "steps", progress.step, lines=False)
    note = ""
    meter.begin()
    # A signal waits for the end of the step, so that a saved state is always a whole step.
    with job.stop.deferred():
        while progress.step < end:
            with meter.part("data"):
                micro = next(steps)
            # Seeded again in each step, so that a resumed run has the same dropout.
            torch.manual_seed(_seed(work.seed, progress.step))
            model.train()
            optimizer.set_rate(optimizers, factor(progress.step, settings.schedule, end))
            # All processes must stop at the same step, or the others would wait forever.
            weight, tokens, stopped = _agreed(micro, job)
            unread.append(_backward(called, wrapped, micro, weight, work.loss, work, meter))
            if replayed := _replayed(work, progress.step, device):
                of_replayed, more = parallel.total([replayed.weight, replayed.tokens])
                part = _backward(called, wrapped, [replayed], of_replayed, token_loss, work, meter)
                unread_replayed.append(part)
                meter.count(int(more))  # for the speed; the curve's tokens are those of the task
            nothing = weight == 0 and not replayed  # the loss mask excludes every target
            with meter.part("optimizer"):
                norm = parallel.clip(model, settings.grad_clip)
                check(unread[-1], norm, progress.step)
                for each in optimizers:
                    if not nothing:
                        each.step()
                    each.zero_grad(set_to_none=True)
            progress.skipped += nothing
            progress.step += 1
            progress.tokens += tokens
            meter.count(tokens)
            countdown.at(progress.step, note)
            last = progress.step == end
            logging = progress.step % settings.log_every == 0 or last
            saving = progress.step % settings.checkpoint_every == 0 or last
            # Checked before anything is written, so no row or state has a loss that is not finite.
            if logging or saving or stopped:
                check.all()
                progress.losses += parallel.total([float(x) for x in unread])
                progress.replayed += parallel.total([float(x) for x in unread_replayed])
                unread.clear()
                unread_replayed.clear()
            if logging:
                figures = meter.read()
                with meter.apart():
                    validated = _add_row(model, optimizers, work, progress, end)
                    if validated and work.best:
                        best.keep(state, model, progress.curve, work.best)
                if best.in_vain(progress.curve, work.best):
                    end, saving = progress.step, True
            if saving or stopped:
                with meter.apart():
                    resume.save(state, model, optimizers, progress)
                    if work.best:
                        best.tidy(state, resume.curves(state), work.best)
            if logging:  # after saving: a broken terminal or tracker must not cost the state
                with meter.apart():
                    note = _tell(progress.curve[-1], figures, countdown, work, job)
            if stopped:
                raise Stopped(stopped)
        if stopped := _asked_to_stop(job):  # in the last step, whose state is saved
            raise Stopped(stopped)
    if work.best and end:
        best.restore(state, model, progress.curve, work.best)
    return progress.curve


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


class Check:
    """Stops training before the optimizer step if the loss or the gradient norm is not finite.

    On a GPU it stops one step later, to avoid waiting for the device; nothing is saved in between.
    """

    def __init__(self, device: torch.device, state: Path):
        self._lag, self._state = int(device.type == "cuda"), state
        self._waiting: list[tuple[Tensor, Tensor, int]] = []

    def __call__(self, loss: Tensor, norm: Tensor, step: int) -> None:
        """Add the figures of a step, and check those of the step that is due."""
        self._waiting.append((loss, norm, step))
        while len(self._waiting) > self._lag:
            self._look(*self._waiting.pop(0))

    def all(self) -> None:
        """Check all figures that still wait."""
        while self._waiting:
            self._look(*self._waiting.pop(0))

    def _look(self, loss: Tensor, norm: Tensor, step: int) -> None:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise UserError(
                f"step {step}: loss {float(loss)}, gradient norm {float(norm)}: not finite; "
                f"{resume.last_good(self._state)}; lower the rate"
            )


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


def _backward(
    called: Called,
    wrapped: nn.Module,
    micro: list[Batch],
    weight: float,
    loss: Loss,
    work: Work,
    meter: Meter,
) -> Tensor:
    """Accumulate the gradients of a step's micro-batches, and return this process's part of the
    mean loss of the whole step.

    Wrapped models average gradients over the processes, so each process scales its part up first.
    """
    parts: list[Tensor] = []
    for number, batch in enumerate(micro):
        with parallel.synchronised(wrapped, number == len(micro) - 1):
            with meter.part("forward"), runtime.autocast(work.hardware):
                part = loss(called, batch) / max(weight, 1e-8)
            with meter.part("backward"):
                (part * processes.count()).backward()
        parts.append(part.detach())
    return torch.stack(parts).sum(dtype=torch.float64)


def _replayed(work: Work, step: int, device: torch.device) -> Batch | None:
    """Return the batch to replay at a step, or None."""
    batch = work.replay.at(step) if work.replay else None
    return batch.to(device) if batch else None


def _first(model: nn.Module, work: Work, job: Job) -> Row:
    """Validate before the first step, and return the row of step 0."""
    figures = _validated(model, work, 0)
    _track({"step": 0, **figures}, {}, work, job)
    job.say(f"{_called(work)}step 0 {' '.join(f'{k} {v:.4f}' for k, v in figures.items())}")
    return {"step": 0, "tokens": 0, "lr": None, "train_loss": None} | figures


def _validated(model: nn.Module, work: Work, step: int) -> Figures:
    model.eval()
    with torch.inference_mode():
        return work.validate(model, step)


def _add_row(
    model: nn.Module, optimizers: Optimizers, work: Work, progress: TrainingProgress, end: int
) -> bool:
    """Add a row to the curve, validate if it is due, and return whether it was validated."""
    row: Row = {
        "step": progress.step,
        "tokens": progress.tokens,
        "lr": optimizers[-1].param_groups[0]["lr"],
        "train_loss": sum(progress.losses) / len(progress.losses),
    }
    if progress.replayed:
        row["replay_loss"] = sum(progress.replayed) / len(progress.replayed)
    if progress.skipped:
        row["skipped_steps"] = progress.skipped
    progress.losses, progress.replayed = [], []
    validated = progress.step % work.settings.validate_every == 0 or progress.step == end
    if validated:
        row |= _validated(model, work, progress.step)
    progress.curve.append(row)
    return validated


def _tell(row: Row, meters: Figures, countdown: Countdown, work: Work, job: Job) -> str:
    """Send a row with the meters to the tracker in one call and a line to the log. Return the text
    for the progress bar.
    """
    _track(row, meters, work, job)
    losses = " ".join(f"{k} {v:.4f}" for k, v in row.items() if k not in ("step", "tokens", "lr"))
    speed = meters["tokens_per_second"]
    left = printable.duration(countdown.left(int(row["step"] or 0)))
    step = f"{_called(work)}step {row['step']}/{countdown.total}"
    job.say(f"{step} {losses} ({speed:,.0f} tokens/s, {left} left)")
    return f"loss {row['train_loss']:.3f}, {speed:,.0f} tokens/s"


def _track(row: Row, meters: Figures, work: Work, job: Job) -> None:
    figures = {k: v for k, v in (row | meters).items() if k != "step" and v is not None}
    of = f"{work.name}." if work.name else ""
    job.track.metrics({of + name: value for name, value in figures.items()}, step=row["step"])


def _called(work: Work) -> str:
    return f"{work.name}: " if work.name else ""


def _restored(work: Work, job: Job, model: nn.Module, optimizers: Optimizers) -> TrainingProgress:
    state, damaged = resume.newest(work.state(job))
    for folder in damaged:
        job.say(f"{folder}: damaged, passed over")
    if state is None:
        return TrainingProgress()
    progress = resume.restore(state, model, optimizers)
    for row in progress.curve:  # the run may have been killed between saving and tracking
        _track(row, {}, work, job)
    job.say(f"{_called(work)}continues at step {progress.step}")
    return progress
