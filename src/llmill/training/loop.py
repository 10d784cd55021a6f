"""The one loop: pretraining, classification, instructions and scores differ in batches, loss and
validation only.

In: a model, batches, a loss, a validation, settings. Out: the trained model and its curve, one row
per interval.
"""

import csv
import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llmill.contract import record, runtime
from llmill.contract.errors import Stopped, UserError
from llmill.contract.schema import Runtime, Training
from llmill.contract.stage import Job
from llmill.training import optimizer, resume
from llmill.training.batches import Batch, Batches
from llmill.training.losses import Loss
from llmill.training.schedule import factor

Figures = dict[str, float]
Validate = Callable[[nn.Module, int], Figures]  # model in evaluation mode, and the step


@dataclass
class Progress:
    """Where a run stands: steps, tokens, the curve so far, the loss since its last row."""

    step: int = 0
    tokens: int = 0
    curve: list[Figures] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_steps: int = 0


def fit(
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    validate: Validate,
    settings: Training,
    hardware: Runtime,
    job: Job,
) -> list[Figures]:
    """Train in place and return the curve. Continues from the newest state in the job's scratch
    folder.
    """
    model.to(runtime.device(hardware))
    optimizers = optimizer.build(model, settings.optimizer)
    max_steps = length(settings, batches.size)
    progress = _restore(job, model, optimizers)
    clock = time.perf_counter()
    since = progress.tokens
    with job.stop.deferred():
        while progress.step < max_steps:
            model.train()
            optimizer.set_rate(optimizers, factor(progress.step, settings.schedule, max_steps))
            step_loss, tokens = _backward(model, batches, loss, settings, hardware, progress.step)
            norm = nn.utils.clip_grad_norm_(model.parameters(), settings.grad_clip)
            _refuse_non_finite(step_loss, float(norm), progress.step, job.state)
            for each in optimizers:
                each.step()
                each.zero_grad(set_to_none=True)
            progress.step += 1
            progress.tokens += tokens
            progress.loss_sum += step_loss
            progress.loss_steps += 1
            last = progress.step == max_steps
            if progress.step % settings.log_every == 0 or last:
                speed = (progress.tokens - since) / (time.perf_counter() - clock)
                _log(model, optimizers, validate, settings, progress, last, job)
                _say(job, progress, max_steps, speed)
                clock, since = time.perf_counter(), progress.tokens
            if progress.step % settings.checkpoint_every == 0 and not last:
                _save(job, model, optimizers, progress)
            if job.stop.signum is not None:
                _save(job, model, optimizers, progress)
                raise Stopped(job.stop.signum)
    return progress.curve


def length(settings: Training, micro_batches: int) -> int:
    """Steps of a run: as given, or so many passes over the data."""
    if settings.max_steps is not None:
        return settings.max_steps
    assert settings.epochs is not None, "the schema gives one of the two"
    return math.ceil(settings.epochs * micro_batches / settings.grad_accum_steps)


def write_curve(path: Path, curve: list[Figures]) -> None:
    """The curve as `curves.csv`; a figure that was not measured at a step is empty."""
    columns = list(dict.fromkeys(name for row in curve for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in curve
    )
    record.write_bytes(path, text.getvalue().encode())


def _backward(
    model: nn.Module, batches: Batches, loss: Loss, settings: Training, hardware: Runtime, step: int
) -> tuple[float, int]:
    """Gradients of one step: the mean loss over all its micro-batches, and the tokens it saw."""
    first = step * settings.grad_accum_steps
    micro = [batches.get(first + i) for i in range(settings.grad_accum_steps)]
    weight = max(sum(batch.weight for batch in micro), 1e-8)
    total = 0.0
    for batch in micro:
        part = _loss(model, batch, loss, hardware) / weight
        part.backward()
        total += float(part.detach())
    return total, sum(batch.tokens for batch in micro)


def _loss(model: nn.Module, batch: Batch, loss: Loss, hardware: Runtime) -> Tensor:
    device = runtime.device(hardware)
    with runtime.autocast(hardware):
        outputs = model(*(x.to(device) for x in batch.inputs))
    return loss(outputs, batch.targets.to(device))


def _refuse_non_finite(loss: float, norm: float, step: int, state: Path) -> None:
    if math.isfinite(loss) and math.isfinite(norm):
        return
    good = sorted(state.glob("*.json"))
    where = (
        f"last good state {good[-1].with_suffix('.pt')}" if good else "no state was saved before"
    )
    raise UserError(
        f"step {step}: loss {loss}, gradient norm {norm}: not finite; {where}; lower the rate"
    )


def _log(
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    validate: Validate,
    settings: Training,
    progress: Progress,
    last: bool,
    job: Job,
) -> None:
    """One row of the curve, validated where its turn is, also sent to the tracker in one call."""
    row: Figures = {
        "step": progress.step,
        "tokens": progress.tokens,
        "lr": optimizers[-1].param_groups[0]["lr"],
        "train_loss": progress.loss_sum / progress.loss_steps,
    }
    progress.loss_sum, progress.loss_steps = 0.0, 0
    if progress.step % settings.validate_every == 0 or last:
        model.eval()
        with torch.inference_mode():
            row |= validate(model, progress.step)
    progress.curve.append(row)
    job.track.metrics({k: v for k, v in row.items() if k != "step"}, step=progress.step)


def _say(job: Job, progress: Progress, max_steps: int, speed: float) -> None:
    row = progress.curve[-1]
    figures = " ".join(f"{k} {v:.4f}" for k, v in row.items() if k not in ("step", "tokens", "lr"))
    job.say(f"step {progress.step}/{max_steps} {figures} ({speed:,.0f} tokens/s)")
    job.track.metrics({"tokens_per_second": speed}, step=progress.step)


def _save(
    job: Job, model: nn.Module, optimizers: list[torch.optim.Optimizer], progress: Progress
) -> None:
    state: dict[str, Any] = {
        "model": model.state_dict(),
        "optimizers": [each.state_dict() for each in optimizers],
        "progress": vars(progress),
        "random": torch.get_rng_state(),
        "random_gpu": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    resume.save(job.state, progress.step, state)


def _restore(job: Job, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> Progress:
    state, damaged = resume.newest(job.state)
    for file in damaged:
        job.say(f"{file}: damaged, passed over")
    if state is None:
        return Progress()
    model.load_state_dict(state["model"])
    for each, saved in zip(optimizers, state["optimizers"], strict=True):
        each.load_state_dict(saved)
    torch.set_rng_state(state["random"])
    if state["random_gpu"]:
        torch.cuda.set_rng_state_all(state["random_gpu"])
    job.say(f"continues at step {state['progress']['step']}")
    return Progress(**state["progress"])
