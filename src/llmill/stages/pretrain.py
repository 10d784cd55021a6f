"""Train the foundation model on next or masked tokens, in windows or packed documents.

    python -m llmill pretrain

Input: token shards and the tokenizer; optionally initial weights. Output: `checkpoint/`,
`curves.csv`, `samples.json`, `metrics.json`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from llmill.contract import processes, record, runtime
from llmill.contract.errors import UserError
from llmill.contract.hardware import Runtime
from llmill.contract.model_folder import BPE
from llmill.contract.values import Section
from llmill.model import checkpoint, initial, vocabulary
from llmill.model.checkpoint import AnyModel, Checkpoint
from llmill.model.settings import FromInit, Model, Shape
from llmill.model.transformer import Transformer
from llmill.stages.settings.pretrain import Pretrain
from llmill.text.tokenization.shards import Shards
from llmill.text.tokenization.tokenizer import Tokenizer
from llmill.training import compilation, parallel
from llmill.training.batches import Rows, Windows
from llmill.training.loop import Validate, Work, fit, length, write_curve
from llmill.training.losses import token_loss
from llmill.training.masking import CHOSEN, Masked
from llmill.training.meters import Meter, flops_per_token, matrix_peak
from llmill.training.packing import Packed
from llmill.training.progress import Figures, Row
from llmill.training.sampling import Sampler, Samples
from llmill.training.short_rows import ShortRows
from llmill.training.validation import MEASURES, Measure, loss_by_source, losses_at_once

if TYPE_CHECKING:
    from llmill.contract.job import Job


LARGEST = 100.0  # nats per token; a uniform guess among all tokens has about a tenth


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    runtime: Runtime
    model: Shape
    pretrain: Pretrain


@dataclass(frozen=True)
class HeldOutText:
    """The validation text, and the measure of a model on it that fits the objective."""

    shards: Shards
    tokenizer: Tokenizer
    measure: Measure

    def figures(self, model: Transformer, at_most: int | None = None) -> Figures:
        """Measure the model on at most so many windows of its context, or on all of them."""
        return self.measure(
            model, self.shards, model.config.block_size, self.tokenizer, at_most=at_most
        )


@dataclass(frozen=True)
class Before:
    """The metrics before the first step."""

    whole: Figures | None  # all windows; only if there are no steps, so the metrics are final
    by_source: Mapping[str, tuple[float, int]] | None  # (loss, tokens); None: not compared


def run(params: Parameters, job: Job) -> None:
    """Train on the training shards, validate on the others, and sample during the training."""
    settings, weights = params.pretrain, job.folder("download") / "init"
    shape = initial.shape(params.model, weights)
    _check_objective(settings.objective, shape, weights)
    tokenizer = Tokenizer.load(job.folder("tokenizer") / BPE)
    tokenized, block = job.folder("tokenize"), shape.block_size
    train = rows(settings, block, tokenized, tokenizer)
    train_batches = batches(settings, train)
    validate = Shards.for_windows(tokenized / "validate", tokenizer, block)
    held_out = HeldOutText(validate, tokenizer, MEASURES[settings.objective])
    runtime.start(settings.seed, settings.threads)
    device = runtime.device(params.runtime)
    # Fail here, not with a compiler error at the first step.
    if settings.compile:
        compilation.check(device)
    n_ids = vocabulary.size(shape, tokenizer.n_vocab)
    make = partial(Transformer, shape, n_ids)
    begun = isinstance(params.model, FromInit)
    model = initial.load(weights, shape, n_ids) if begun else make()
    model.recompute = settings.recompute
    parameters = sum(p.numel() for p in model.parameters())
    job.say(f"{parameters:,} parameters, {train.shards.tokens:,} tokens")
    before = _before(model.to(device), held_out, settings, begun)
    samples = Samples(job.scratch / "samples")
    work = Work(
        train_batches,
        token_loss,
        _validation(held_out, before, settings, samples),
        settings.training,
        params.runtime,
        settings.seed,
        spread=settings.parallel,
        compile=settings.compile,
        begun=begun,
    )
    with parallel.together(device):
        curve = fit(model, work, job, _meter(model, settings, device, params.runtime))
        model = parallel.whole(model, make)
    # All processes train, but only one writes.
    if not processes.main():
        return
    model.to(device).eval()
    metrics = _metrics(model, held_out, before, curve[-1], train.shards.tokens)
    foundation = _foundation(model, tokenizer, weights if begun else None, job)
    _write(job, foundation, curve, samples.gather(), metrics)


def _check_objective(objective: str, shape: Model, weights: Path) -> None:
    """Raise `UserError` if the objective does not fit the initial weights."""
    if shape.causal != (objective == "next_token"):
        raise UserError(
            f"params.yaml: pretrain.objective {objective} does not fit the weights in "
            f"{weights}, which are {'' if shape.causal else 'not '}causal"
        )


def _before(model: Transformer, held_out: HeldOutText, settings: Pretrain, begun: bool) -> Before:
    """Measure the model before the first step: over all windows if there are no steps, and by
    source if it begins from trained weights (`begun`), to show what the training improves and
    forgets.
    """
    shards, block = held_out.shards, model.config.block_size
    by_source = begun and settings.objective == "next_token"
    unchanged = settings.training.max_steps == 0
    model.eval()
    if unchanged and by_source:
        return Before(*losses_at_once(model, shards, block, held_out.tokenizer))
    if unchanged:
        return Before(held_out.figures(model), None)
    return Before(None, loss_by_source(model, shards, block) if by_source else None)


def _validation(
    held_out: HeldOutText, before: Before, settings: Pretrain, samples: Samples
) -> Validate:
    """Return the validation of the loop, which also writes samples."""
    sampler = Sampler(held_out.tokenizer, settings.samples, settings.seed, samples)

    def validate(model: nn.Module, step: int) -> Figures:
        assert isinstance(model, Transformer), "what this stage trains"
        sampler.write(model, step)
        if before.whole is not None:
            return before.whole
        return held_out.figures(model, settings.validate_windows)

    return validate


def _metrics(
    model: Transformer, held_out: HeldOutText, before: Before, last: Row, available: int
) -> dict[str, Any]:
    """Return the metrics after the last step, of which `last` is the row of the curve. An epoch has
    all `available` tokens of the training text.
    """
    return {
        **_figures_after(model, held_out, before),
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": last["step"],
        "tokens": last["tokens"],
        "epochs": last["tokens"] / available,
        **_by_source(model, held_out, before),
    }


def _figures_after(model: Transformer, held_out: HeldOutText, before: Before) -> dict[str, Any]:
    """Return the figures of the trained model over all windows; during the training, some suffice.
    Raise `UserError` if the training diverged.
    """
    metrics: dict[str, Any] = dict(before.whole or held_out.figures(model))
    if "validation_loss" in metrics:
        loss = metrics["validation_loss"]
        if loss > LARGEST:
            raise UserError(
                f"the training diverged: validation loss {loss:.1f}; lower "
                "pretrain.training.optimizer.lr and muon_lr"
            )
        metrics["perplexity"] = math.exp(loss)
    return metrics


def _by_source(model: Transformer, held_out: HeldOutText, before: Before) -> dict[str, Any]:
    """Return the loss on each source before the first step and after the last."""
    if before.by_source is None:
        return {}
    after = before.by_source
    if before.whole is None:
        after = loss_by_source(model, held_out.shards, model.config.block_size)
    compared = {
        name: {"before": before.by_source[name][0], "after": loss, "tokens": tokens}
        for name, (loss, tokens) in after.items()
    }
    return {"by_source": compared}


def _meter(
    model: Transformer, settings: Pretrain, device: torch.device, hardware: Runtime
) -> Meter:
    """Return a meter of all processes, which counts each token as one of a row of mean length. A
    masked model's head computes only the chosen tokens.
    """
    peak = matrix_peak(device, runtime.dtype(hardware))
    length = model.config.block_size * mean(1 / n for n in settings.shorten_rows)
    head_share = CHOSEN if settings.objective == "masked" else 1.0
    return Meter(flops_per_token(model, length, head_share), peak * processes.count())


def _foundation(
    model: Transformer, tokenizer: Tokenizer, weights: Path | None, job: Job
) -> Checkpoint[AnyModel]:
    """Return the checkpoint of the model, which was begun from these weights, or from none."""
    return Checkpoint(
        model,
        tokenizer,
        made_by=job.stage.address,
        begun_from=None if weights is None else record.content_hash(weights),
        weights_template=None if weights is None else initial.template(weights),
    )


def _write(
    job: Job,
    foundation: Checkpoint[AnyModel],
    curve: list[Row],
    samples: list[dict[str, Any]],
    metrics: dict[str, Any],
) -> None:
    """Write the stage's files, and log them to the tracker."""
    checkpoint.save(job.out / "checkpoint", foundation)
    write_curve(job.out / "curves.csv", curve)
    record.write_json(job.out / "samples.json", samples)
    record.write_json(job.out / "metrics.json", metrics)
    job.track.table("samples", samples)
    job.track.metrics({f"final_{k}": v for k, v in record.flat(metrics).items()})


def rows(settings: Pretrain, block: int, tokenized: Path, tokenizer: Tokenizer) -> Rows:
    """Return the training rows of `block` tokens, packed and masked as the parameters say."""
    shards = Shards.for_windows(tokenized / "train", tokenizer, block)
    kind = {"windows": Windows, "documents": Packed}[settings.packing]
    plain = kind(shards, block, settings.seed, settings.mask_documents)
    return Masked(plain, tokenizer.end_of_text) if settings.objective == "masked" else plain


def batches(settings: Pretrain, rows: Rows) -> ShortRows:
    """Return the batches of the training, whose rows are shortened as the parameters say. Raise
    `UserError` if the context cannot be divided so.
    """
    training, times = settings.training, settings.shorten_rows
    if wrong := [n for n in times if rows.block_size % n]:
        raise UserError(
            f"params.yaml: pretrain.shorten_rows: {wrong[0]} does not divide the context of "
            f"{rows.block_size} tokens; set it to [1], or choose divisors"
        )
    per_step = training.batch_size * training.grad_accum_steps
    return ShortRows(rows, times, length(training, rows.n), per_step)
