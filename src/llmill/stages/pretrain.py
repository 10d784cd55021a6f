"""Train the foundation model: next tokens or masked ones, of windows or packed documents.

    python -m llmill pretrain

In: token shards and the tokenizer; weights, where it begins from some. Out: `checkpoint/`,
`curves.csv`, `samples.json`, `metrics.json`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from llmill.text.shards import Shards
from llmill.text.tokenizer import Tokenizer
from llmill.training import compilation, parallel
from llmill.training.batches import Rows, Windows
from llmill.training.loop import Work, fit, write_curve
from llmill.training.losses import token_loss
from llmill.training.masking import CHOSEN, Masked
from llmill.training.meters import Meter, flops_per_token, matrix_peak
from llmill.training.packing import Packed
from llmill.training.progress import Figures, Row
from llmill.training.sampling import Sampler
from llmill.training.validation import MEASURES, Measure, loss_by_source, losses_at_once

if TYPE_CHECKING:
    from llmill.contract.job import Job


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    runtime: Runtime
    model: Shape
    pretrain: Pretrain


def run(params: Parameters, job: Job) -> None:
    """Train on the training shards, validate on the others, sample along the way."""
    settings, weights = params.pretrain, job.folder("download") / "init"
    shape = initial.shape(params.model, weights)
    block = shape.block_size
    _check_objective(settings.objective, shape, weights)
    tokenizer = Tokenizer.load(job.folder("tokenizer") / BPE)
    train = batches(settings, block, job.folder("tokenize"), tokenizer)
    held_out = load(job.folder("tokenize") / "validate", tokenizer, block)
    runtime.start(settings.seed, settings.threads)
    device = runtime.device(params.runtime)
    # Here, and not as an error of the compiler at the first step.
    if settings.compile:
        compilation.check(device)
    n_ids = vocabulary.size(shape, tokenizer.n_vocab)

    def make() -> Transformer:
        return Transformer(shape, n_ids)

    begun = isinstance(params.model, FromInit)
    model = initial.load(weights, shape, n_ids) if begun else make()
    model.recompute = settings.recompute
    parameters = sum(p.numel() for p in model.parameters())
    job.say(f"{parameters:,} parameters, {train.shards.tokens:,} tokens")
    measure = MEASURES[settings.objective]
    sampler = Sampler(tokenizer, settings.samples, settings.seed, job.scratch / "samples")

    compared = begun and settings.objective == "next_token"
    unchanged = settings.training.max_steps == 0
    model.to(device)
    whole, before = _before(model, held_out, tokenizer, measure, compared, unchanged)

    def validate(model: nn.Module, step: int) -> Figures:
        assert isinstance(model, Transformer), "what this stage trains"
        sampler.write(model, step)
        if whole is not None:
            return whole
        return measure(model, held_out, block, tokenizer, settings.validate_windows)

    work = Work(
        train,
        token_loss,
        validate,
        settings.training,
        params.runtime,
        settings.seed,
        spread=settings.parallel,
        compile=settings.compile,
        begun=begun,
    )
    peak = matrix_peak(device, runtime.dtype(params.runtime))
    head_share = CHOSEN if settings.objective == "masked" else 1.0
    meter = Meter(flops_per_token(model, head_share), peak * processes.count())
    with parallel.together(device):
        curve = fit(model, work, job, meter)
        model = parallel.whole(model, make)
    # All processes trained; one writes.
    if not processes.main():
        return
    model.to(device).eval()
    # A sample of the windows does along the way; the figure that counts is over all.
    metrics: dict[str, Any] = dict(
        whole or measure(model, held_out, block, tokenizer, at_most=None)
    )
    if "validation_loss" in metrics:
        metrics["perplexity"] = math.exp(metrics["validation_loss"])
    metrics |= {
        "parameters": parameters,
        "steps": curve[-1]["step"],
        "tokens": curve[-1]["tokens"],
        "epochs": curve[-1]["tokens"] / train.shards.tokens,
    }
    if compared:
        after = before if unchanged else loss_by_source(model, held_out, block)
        metrics["by_source"] = {
            name: {"before": before[name][0], "after": loss, "tokens": tokens}
            for name, (loss, tokens) in after.items()
        }
    foundation = Checkpoint(
        model,
        tokenizer,
        made_by=job.stage.address,
        begun_from=record.content_hash(weights) if begun else None,
        weights_template=initial.template(weights) if begun else None,
    )
    _write(job, foundation, curve, sampler.gather(), metrics)


def _before(
    model: Transformer,
    held_out: Shards,
    tokenizer: Tokenizer,
    measure: Measure,
    compared: bool,
    unchanged: bool,
) -> tuple[Figures | None, dict[str, tuple[float, int]]]:
    """What is measured before any step: of weights that pass through, all that is ever measured;
    and by source what more training gains and forgets.
    """
    block = model.config.block_size
    model.eval()
    if unchanged and compared:
        return losses_at_once(model, held_out, block, tokenizer)
    if unchanged:
        return measure(model, held_out, block, tokenizer, at_most=None), {}
    return None, loss_by_source(model, held_out, block) if compared else {}


def _check_objective(objective: str, shape: Model, weights: Path) -> None:
    """Refuse an objective that the weights to begin from were not made for."""
    if shape.causal != (objective == "next_token"):
        raise UserError(
            f"params.yaml: pretrain.objective {objective} does not fit the weights in "
            f"{weights}, which are {'' if shape.causal else 'not '}causal"
        )


def _write(
    job: Job,
    foundation: Checkpoint[AnyModel],
    curve: list[Row],
    samples: list[dict[str, Any]],
    metrics: dict[str, Any],
) -> None:
    """The stage's files, and what the tracker keeps of them."""
    checkpoint.save(job.out / "checkpoint", foundation)
    write_curve(job.out / "curves.csv", curve)
    record.write_json(job.out / "samples.json", samples)
    record.write_json(job.out / "metrics.json", metrics)
    job.track.table("samples", samples)
    job.track.metrics({f"final_{k}": v for k, v in record.flat(metrics).items()})


def batches(settings: Pretrain, block: int, tokenized: Path, tokenizer: Tokenizer) -> Rows:
    """The rows to train on, of `block` tokens, packed and masked as the parameters say."""
    shards = load(tokenized / "train", tokenizer, block)
    kind = {"windows": Windows, "documents": Packed}[settings.packing]
    rows = kind(shards, block, settings.seed, settings.mask_documents)
    return Masked(rows, tokenizer.end_of_text) if settings.objective == "masked" else rows


def load(folder: Path, tokenizer: Tokenizer, block_size: int) -> Shards:
    """Shards that fit the tokenizer and hold at least one window."""
    shards = Shards.load(folder)
    if shards.n_vocab != tokenizer.n_vocab:
        raise UserError(
            f"{folder}: made with {shards.n_vocab} tokens, the tokenizer has {tokenizer.n_vocab}"
        )
    if shards.tokens <= block_size:
        raise UserError(
            f"{folder}: {shards.tokens} tokens are fewer than one window of {block_size}; "
            "add text, raise prepare.validate_share, or lower model.block_size"
        )
    return shards
