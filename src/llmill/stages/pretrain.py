"""Train the foundation model: next-token prediction over windows or packed documents.

    python -m llmill pretrain

In: token shards and the tokenizer; weights, where it begins from some. Out: `checkpoint/`,
`curves.csv`, `samples.json`, `metrics.json`.
"""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from llmill.contract import processes, record, runtime
from llmill.contract.errors import UserError
from llmill.contract.params import Selected
from llmill.contract.schema import FromInit, Model, Sampling
from llmill.contract.stage import Job
from llmill.model import checkpoint, initial
from llmill.model.cross_entropy import IGNORE
from llmill.model.generate import Choice, generate
from llmill.model.transformer import Transformer
from llmill.text.shards import Shards
from llmill.text.tokenizer import Tokenizer
from llmill.training import parallel
from llmill.training.batches import Rows, Windows, windows
from llmill.training.loop import Work, fit, write_curve
from llmill.training.losses import token_loss
from llmill.training.meters import Meter, flops_per_token, matrix_peak
from llmill.training.packing import Packed

EVALUATED = 16  # windows at once


def run(params: Selected, job: Job) -> None:
    """Train on the training shards, validate on the others, sample along the way."""
    settings, shape = params.pretrain, shape_of(params)
    block = shape.block_size
    tokenizer = Tokenizer.load(Path(params.paths.tokenizer, "bpe"))
    train = batches(params, tokenizer)
    held_out = load(Path(params.paths.tokenize, "validate"), tokenizer, block)
    runtime.start(settings.seed, settings.threads)
    device = runtime.device(params.runtime)

    def make() -> Transformer:
        return Transformer(shape, tokenizer.n_vocab)

    begun = isinstance(params.model, FromInit)
    model = initial.load(weights(params), shape, tokenizer.n_vocab) if begun else make()
    model.recompute = settings.recompute
    parameters = sum(p.numel() for p in model.parameters())
    job.say(f"{parameters:,} parameters, {train.shards.tokens:,} tokens")
    sampler = Sampler(tokenizer, settings.samples, settings.seed, job)

    def validate(model: nn.Module, step: int) -> dict[str, float]:
        sampler.write(model, step)
        return loss_over(model, held_out, block, tokenizer, settings.validate_windows)

    work = Work(
        train,
        token_loss,
        validate,
        settings.training,
        params.runtime,
        settings.seed,
        settings.parallel,
        settings.compile,
        begun,
    )
    peak = matrix_peak(device, runtime.dtype(params.runtime))
    meter = Meter(flops_per_token(model), peak * processes.count())
    before = loss_by_source(model.to(device).eval(), held_out, block) if begun else {}
    with parallel.together(device):
        curve = fit(model, work, job, meter)
        model = parallel.whole(model, make)
    if not processes.main():
        return
    model.eval()
    figures = loss_over(model, held_out, block, tokenizer, at_most=None)
    after = loss_by_source(model, held_out, block) if begun else {}
    checkpoint.save(job.out / "checkpoint", checkpoint.Checkpoint(model, tokenizer))
    write_curve(job.out / "curves.csv", curve)
    samples = sampler.gather()
    record.write_json(job.out / "samples.json", samples)
    job.track.table("samples", samples)
    metrics = {
        **figures,
        "perplexity": math.exp(figures["validation_loss"]),
        "parameters": parameters,
        "steps": curve[-1]["step"],
        "tokens": curve[-1]["tokens"],
        "epochs": curve[-1]["tokens"] / train.shards.tokens,
    }
    by_source = {
        name: {"before": before[name][0], "after": loss, "tokens": tokens}
        for name, (loss, tokens) in after.items()
    }
    named = {"by_source": by_source} if begun else {}
    record.write_json(job.out / "metrics.json", metrics | named)
    flat = record.flat(named)
    job.track.metrics({f"final_{k}": v for k, v in (metrics | flat).items()})


def weights(params: Selected) -> Path:
    """The folder of the weights to begin from."""
    return Path(params.paths.download, "init")


def shape_of(params: Selected) -> Model:
    """The shape of the model that is trained."""
    return initial.shape(params.model, weights(params))


def batches(params: Selected, tokenizer: Tokenizer) -> Rows:
    """The rows to train on, packed as the parameters say."""
    settings, block = params.pretrain, shape_of(params).block_size
    shards = load(Path(params.paths.tokenize, "train"), tokenizer, block)
    kind = {"windows": Windows, "documents": Packed}[settings.packing]
    return kind(shards, block, settings.seed, settings.mask_documents)


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
    available = (shards.tokens - 1) // block_size
    count = available if at_most is None else min(at_most, available)
    numbers = [i * available // count for i in range(count)]
    nats, tokens, n_bytes = 0.0, 0, 0
    for start in range(0, count, EVALUATED):
        batch = windows(shards, block_size, numbers[start : start + EVALUATED])
        nats += float(token_loss(model, batch.to(device)))
        tokens += batch.tokens
        n_bytes += int(sizes[batch.targets.numpy()].sum())
    return {"validation_loss": nats / tokens, "bits_per_byte": nats / math.log(2) / max(1, n_bytes)}


@torch.inference_mode()
def loss_by_source(
    model: nn.Module, shards: Shards, block_size: int
) -> dict[str, tuple[float, int]]:
    """Mean loss in nats per token of each source's documents, and their tokens, over all
    non-overlapping windows: weighted by the tokens, the means are the loss over everything.
    """
    device = next(model.parameters()).device
    nats, tokens = np.zeros(len(shards.sources)), np.zeros(len(shards.sources), dtype=int)
    for start in range(0, shards.n_windows(block_size), EVALUATED):
        numbers = range(start, min(start + EVALUATED, shards.n_windows(block_size)))
        batch = windows(shards, block_size, numbers)
        places = [np.arange(n * block_size + 1, (n + 1) * block_size + 1) for n in numbers]
        source = torch.from_numpy(shards.sources_of(np.stack(places)))  # (B, T), of each target
        for each in source.unique().tolist():
            own = replace(batch, targets=batch.targets.masked_fill(source != each, IGNORE))
            nats[each] += float(token_loss(model, own.to(device)))
            tokens[each] += int((source == each).sum())
    return {
        name: (nats[i] / tokens[i], int(tokens[i]))
        for i, name in enumerate(shards.sources)
        if tokens[i]
    }


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
