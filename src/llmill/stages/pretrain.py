"""Train the foundation model: next tokens or masked ones, of windows or packed documents.

    python -m llmill pretrain

In: token shards and the tokenizer. Out: `checkpoint/`, `curves.csv`, `samples.json`,
`metrics.json`.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from llmill.contract import processes, record, runtime
from llmill.contract.errors import UserError
from llmill.contract.params import Selected
from llmill.contract.schema import Sampling
from llmill.contract.stage import Job
from llmill.model import checkpoint, vocabulary
from llmill.model.generate import Choice, generate
from llmill.model.transformer import Transformer
from llmill.text.shards import Shards
from llmill.text.tokenizer import Tokenizer
from llmill.training import parallel
from llmill.training.batches import Rows, Windows, windows
from llmill.training.loop import Work, fit, write_curve
from llmill.training.losses import token_loss
from llmill.training.masking import CHOSEN, Masked, masked_windows
from llmill.training.meters import Meter, flops_per_token, matrix_peak
from llmill.training.packing import Packed


def run(params: Selected, job: Job) -> None:
    """Train on the training shards, validate on the others, sample along the way."""
    settings, block = params.pretrain, params.model.block_size
    tokenizer = Tokenizer.load(Path(params.paths.tokenizer, "bpe"))
    train = batches(params, tokenizer)
    held_out = load(Path(params.paths.tokenize, "validate"), tokenizer, block)
    runtime.start(settings.seed, settings.threads)
    device = runtime.device(params.runtime)

    def make() -> Transformer:
        return Transformer(params.model, vocabulary.size(params.model, tokenizer.n_vocab))

    model = make()
    model.recompute = settings.recompute
    parameters = sum(p.numel() for p in model.parameters())
    job.say(f"{parameters:,} parameters, {train.shards.tokens:,} tokens")
    measure = MEASURES[settings.objective]
    sampler = Sampler(tokenizer, settings.samples, settings.seed, job)

    def validate(model: nn.Module, step: int) -> dict[str, float]:
        sampler.write(model, step)
        return measure(model, held_out, block, tokenizer, settings.validate_windows)

    work = Work(
        train,
        token_loss,
        validate,
        settings.training,
        params.runtime,
        settings.seed,
        settings.parallel,
        settings.compile,
    )
    peak = matrix_peak(device, runtime.dtype(params.runtime))
    asked = CHOSEN if settings.objective == "masked" else 1.0
    meter = Meter(flops_per_token(model, asked), peak * processes.count())
    with parallel.together(device):
        curve = fit(model, work, job, meter)
        model = parallel.whole(model, make)
    if not processes.main():
        return
    model.eval()
    figures = measure(model, held_out, block, tokenizer, at_most=None)
    if "validation_loss" in figures:
        figures["perplexity"] = math.exp(figures["validation_loss"])
    checkpoint.save(job.out / "checkpoint", checkpoint.Checkpoint(model, tokenizer))
    write_curve(job.out / "curves.csv", curve)
    samples = sampler.gather()
    record.write_json(job.out / "samples.json", samples)
    job.track.table("samples", samples)
    metrics = {
        **figures,
        "parameters": parameters,
        "steps": curve[-1]["step"],
        "tokens": curve[-1]["tokens"],
        "epochs": curve[-1]["tokens"] / train.shards.tokens,
    }
    record.write_json(job.out / "metrics.json", metrics)
    job.track.metrics({f"final_{k}": v for k, v in metrics.items()})


def batches(params: Selected, tokenizer: Tokenizer) -> Rows:
    """The rows to train on, packed and masked as the parameters say."""
    settings, block = params.pretrain, params.model.block_size
    shards = load(Path(params.paths.tokenize, "train"), tokenizer, block)
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


@torch.inference_mode()
def loss_over(
    model: nn.Module, shards: Shards, block_size: int, tokenizer: Tokenizer, at_most: int | None
) -> dict[str, float]:
    """Mean loss in nats per token and bits per byte over non-overlapping windows, spread evenly if
    not all; over windows however training rows are packed, so that figures compare.

    The bytes are those of the predicted tokens; <|endoftext|> has none, its loss counts.
    """
    device = next(model.parameters()).device
    sizes = np.array([len(tokenizer.decode_bytes([i])) for i in range(tokenizer.n_vocab)])
    sizes[tokenizer.end_of_text] = 0
    nats, tokens, n_bytes = 0.0, 0, 0
    for numbers in spread(shards, block_size, at_most):
        batch = windows(shards, block_size, numbers)
        nats += float(token_loss(model, batch.to(device)))
        tokens += batch.tokens
        n_bytes += int(sizes[batch.targets.numpy()].sum())
    return {"validation_loss": nats / tokens, "bits_per_byte": nats / math.log(2) / max(1, n_bytes)}


@torch.inference_mode()
def masked_loss_over(
    model: nn.Module, shards: Shards, block_size: int, tokenizer: Tokenizer, at_most: int | None
) -> dict[str, float]:
    """Mean loss in nats per masked token, over the windows of `loss_over`; the masks are the same
    every time. No figure to compare with the loss of a next token: this one is seen from both
    sides.
    """
    device = next(model.parameters()).device
    nats, tokens = 0.0, 0
    for numbers in spread(shards, block_size, at_most):
        batch = masked_windows(shards, block_size, numbers, tokenizer.end_of_text)
        nats += float(token_loss(model, batch.to(device)))
        tokens += len(batch.targets)
    return {"masked_loss": nats / max(1, tokens)}


MEASURES = {"next_token": loss_over, "masked": masked_loss_over}


def spread(shards: Shards, block_size: int, at_most: int | None) -> Iterator[list[int]]:
    """The numbers of so many windows, or of all, spread evenly; a few at a time."""
    available = shards.n_windows(block_size)
    count = available if at_most is None else min(at_most, available)
    numbers = [i * available // count for i in range(count)]
    for start in range(0, count, 16):
        yield numbers[start : start + 16]


class Sampler:
    """Writes sample texts with a random state of its own, one file a step, so that a resumed run
    has them all.
    """

    def __init__(self, tokenizer: Tokenizer, settings: Sampling, seed: int, job: Job):
        self.tokenizer, self.settings, self.seed = tokenizer, settings, seed
        self.folder = job.scratch / "samples"
        self.folder.mkdir(parents=True, exist_ok=True)

    def write(self, model: nn.Module, step: int) -> None:
        """Continue each prompt."""
        prompts = [
            [self.tokenizer.end_of_text, *self.tokenizer.encode(p)] for p in self.settings.prompts
        ]
        answers = generate(
            model,
            prompts,
            max_new_tokens=self.settings.max_new_tokens,
            end_of_text=self.tokenizer.end_of_text,
            choice=Choice(temperature=self.settings.temperature, top_k=self.settings.top_k),
            seed=self.seed,
        )
        rows = [
            {"step": step, "prompt": prompt, "text": self.tokenizer.decode(ids)}
            for prompt, ids in zip(self.settings.prompts, answers, strict=True)
        ]
        if processes.main():
            record.write_json(self.folder / f"{step:09d}.json", rows)

    def gather(self) -> list[dict[str, object]]:
        """All samples, in the order of the steps."""
        return [
            row for file in sorted(self.folder.glob("*.json")) for row in record.read_json(file)
        ]
