"""Findings of GPT-2 speedruns that are newer than the preset's recipe, each compared alone with it
at equal time. Run stage `tokenize` of a preset first.

    python benchmarks/modern.py --steps 300 --out modern.jsonl

The time of a run is its number of steps times the processor time of a step relative to the preset's
step. The recipes take turns step by step, so a busy machine hardly changes the figures. Trainings
that are in the file are not run again.
"""

import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median, stdev
from typing import Annotated, Any

import torch
import typer
from additions import Additions, SeparateMuon, Varied
from recipes import folder, shape_of
from torch import Tensor

from llmill.contract import runtime
from llmill.model.transformer import Transformer
from llmill.runner import params
from llmill.runner.tree import Params
from llmill.text.tokenization.shards import Shards
from llmill.text.tokenization.tokenizer import Tokenizer
from llmill.training import optimizer, parallel
from llmill.training.batches import Windows
from llmill.training.losses import token_loss
from llmill.training.muon import Muon
from llmill.training.optimizer import PEAK, Optimizers
from llmill.training.schedule import factor
from llmill.training.settings import Training
from llmill.training.short_rows import shortened
from llmill.training.validation import loss_over

TRIAL = 12  # number of timed steps, the same for each phase
THIRDS = 3  # number of phases of a run


@dataclass(frozen=True)
class Finding:
    """The preset's recipe with one change."""

    additions: Additions | None = None
    schedule: dict[str, Any] = field(default_factory=dict)
    separate: bool = False  # Muon takes queries, keys and values as three matrices
    averaged: float = 0.0  # keep the mean of the weights over this last share of the steps
    batch: tuple[float, ...] = (1.0,) * THIRDS  # batch size over the preset's, by phase
    window: tuple[float, ...] = (1.0,) * THIRDS  # window length over the preset's; same tokens
    shorten: tuple[int, ...] | None = None  # as `pretrain.shorten_rows`; None: the preset's

    def steps_as_preset(self) -> bool:
        """Return whether a step does the same work as the preset's: at most the rate differs."""
        return self == Finding(schedule=self.schedule)


PRESET = "the preset's recipe"
FINDINGS = {
    PRESET: Finding(),
    "value embeddings": Finding(Additions(value_embeddings=True)),
    "a gate for each head": Finding(Additions(head_gates=True)),
    "a gain of queries and keys": Finding(Additions(qk_gain=True)),
    "the embedding in each block": Finding(Additions(first_stream=True)),
    "smeared embeddings": Finding(Additions(smear=True)),
    "logits capped at 15": Finding(Additions(soft_cap=15.0)),
    "z-loss 1e-4": Finding(Additions(z_loss=1e-4)),
    "Muon: q, k, v apart": Finding(separate=True),
    "cosine": Finding(schedule={"decay": "cosine"}),
    "linear": Finding(schedule={"decay": "linear"}),
    "stable, decay over a fifth": Finding(schedule={"decay_share": 0.2}),
    "mean of the last tenth": Finding(averaged=0.1),
    "constant, mean of the last third": Finding(schedule={"min_factor": 1.0}, averaged=1 / 3),
    "batch 1/2, 1, 3/2": Finding(batch=(0.5, 1.0, 1.5)),
    "whole rows": Finding(shorten=(1,)),
    "rows a half, whole": Finding(shorten=(2, 1)),
    "rows an eighth, a quarter, a half, whole": Finding(shorten=(8, 4, 2, 1)),
    "windows of 1/4, 1/2, 1": Finding(window=(0.25, 0.5, 1.0), shorten=(1,)),
}


@dataclass(frozen=True)
class Bench:
    """The preset, data and tokenizer that every recipe is tried on."""

    preset: Params
    train: Shards
    held_out: Shards
    tokenizer: Tokenizer
    threads: int

    def trained(self, finding: Finding, steps: int, seed: int) -> Transformer:
        """Return a model that was trained for `steps` steps."""
        *_, model = self.training(finding, steps, seed)
        return model.eval()

    def training(self, finding: Finding, steps: int, seed: int) -> Iterator[Transformer]:
        """Train a model, and yield it before the first step and after each."""
        settings, shape = self.preset.pretrain, shape_of(self.preset)
        training, n_ids = settings.training, self.train.n_vocab
        schedule = training.schedule.model_copy(update=finding.schedule)
        runtime.start(seed, self.threads)
        model = (
            Varied(shape, n_ids, finding.additions)
            if finding.additions
            else Transformer(shape, n_ids)
        )
        optimizers = _optimizers(model, training, finding.separate)
        batches = self._batches(finding, steps, seed)
        kept: list[Tensor] = []
        from_step = steps - round(finding.averaged * steps)
        model.train()
        yield model
        for step, batch in enumerate(batches):
            optimizer.set_rate(optimizers, factor(step, schedule, steps))
            (token_loss(model, batch) / batch.weight).backward()
            parallel.clip(model, training.grad_clip)
            for each in optimizers:
                each.step()
                each.zero_grad(set_to_none=True)
            if step >= from_step:
                kept = _mean(kept, model, step - from_step)
            if step == steps - 1:
                with torch.no_grad():
                    for parameter, average in zip(model.parameters(), kept, strict=False):
                        parameter.copy_(average)
            yield model

    def _batches(self, finding: Finding, steps: int, seed: int) -> Iterable:
        block, size = shape_of(self.preset).block_size, self.preset.pretrain.training.batch_size
        shorten = finding.shorten or self.preset.pretrain.shorten_rows
        rows: dict[int, Windows] = {}
        done: dict[int, int] = {}
        for step in range(steps):
            phase = step * THIRDS // steps
            length = round(block * finding.window[phase])
            count = round(size * finding.batch[phase] / finding.window[phase])
            windows = rows.setdefault(length, Windows(self.train, length, seed))
            times = shorten[step * len(shorten) // steps]
            yield shortened(windows.get(done.get(length, 0), count), times)
            done[length] = done.get(length, 0) + count

    def loss(self, model: Transformer) -> float:
        """Return the loss in nats per token over the whole validation split."""
        block = model.config.block_size
        measured = loss_over(model, self.held_out, block, self.tokenizer, at_most=None)
        return measured["validation_loss"]


def _optimizers(model: Transformer, training: Training, separate: bool) -> Optimizers:
    built = optimizer.build(model, training.optimizer)
    if separate:
        (matrices,) = [each for each in built if isinstance(each, Muon)]
        (group,) = matrices.param_groups
        apart = SeparateMuon(group["params"], group["lr"], group["weight_decay"])
        apart.param_groups[0][PEAK] = group[PEAK]
        built[built.index(matrices)] = apart
    return built


@torch.no_grad()
def _mean(kept: list[Tensor], model: Transformer, before: int) -> list[Tensor]:
    """Update the mean of the weights of `before` earlier steps with the model's weights."""
    if not kept:
        return [p.detach().clone() for p in model.parameters()]
    torch._foreach_lerp_(kept, [p.detach() for p in model.parameters()], 1 / (before + 1))
    return kept


def shares_of_time(bench: Bench, names: list[str], rounds: int) -> dict[str, float]:
    """Return the time of a step of each recipe relative to the preset's: the mean over a trial's
    steps of the median over the rounds. It is 1 by definition if only the rate differs.
    """
    timed = [
        name
        for name in dict.fromkeys(names)
        if name == PRESET or not FINDINGS[name].steps_as_preset()
    ]
    ratios: dict[tuple[str, int], list[float]] = defaultdict(list)
    for number in range(rounds):
        running = {name: bench.training(FINDINGS[name], TRIAL, number) for name in timed}
        for each in running.values():
            next(each)
        for step in range(TRIAL):
            took = {}
            for name in random.Random(f"{number} {step}").sample(timed, len(timed)):
                begun = time.process_time()
                next(running[name])
                took[name] = time.process_time() - begun
            for name in timed:
                ratios[name, step].append(took[name] / took[PRESET])
    shares = {name: mean(median(ratios[name, n]) for n in range(TRIAL)) for name in timed}
    return {name: shares.get(name, 1.0) for name in names}


def kept_in(file: Path, key: dict[str, Any], make: Callable[[], Any]) -> Any:
    """Return the value under the key in the file. If there is none, make it and add it."""
    lines = file.read_text().splitlines() if file.exists() else []
    for line in map(json.loads, lines):
        if line["key"] == key:
            return line["value"]
    value = make()
    with file.open("a") as opened:
        opened.write(json.dumps({"key": key, "value": value}) + "\n")
    return value


def main(
    file: Annotated[Path, typer.Option("--params", help="File of the run.")] = Path("params.yaml"),
    steps: Annotated[int, typer.Option(help="Steps of the preset's recipe.")] = 300,
    seeds: int = 3,
    first_seed: int = 1,
    rounds: Annotated[int, typer.Option(help="Rounds that time steps.")] = 7,
    threads: Annotated[int | None, typer.Option(help="Default: the preset's.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only these findings.")] = None,
    out: Annotated[Path, typer.Option(help="Keeps finished runs.")] = Path("modern.jsonl"),
) -> None:
    """Print for each finding: step time, steps in the preset's time, loss, difference by seed."""
    preset = params.load(file)
    tokenizer = Tokenizer.load(folder(preset, "tokenizer") / "bpe")
    block = shape_of(preset).block_size
    train, held_out = (
        Shards.for_windows(folder(preset, "tokenize") / split, tokenizer, block)
        for split in ("train", "validate")
    )
    shape, threads = shape_of(preset), threads or preset.pretrain.threads
    if shape.n_kv_head != shape.n_head:
        raise typer.BadParameter("queries, keys and values of one size are compared")
    bench = Bench(preset, train, held_out, tokenizer, threads)
    names = [PRESET, *(only or [name for name in FINDINGS if name != PRESET])]
    timed = {"preset": preset.name, "steps in turn": names, "rounds": rounds, "threads": threads}
    timed["shorten_rows"] = list(preset.pretrain.shorten_rows)
    shares = kept_in(out, timed, lambda: shares_of_time(bench, names, rounds))
    losses: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(first_seed, first_seed + seeds):
        for name in names:
            n = round(steps / shares[name])

            def loss(name: str = name, n: int = n, seed: int = seed) -> float:
                return bench.loss(bench.trained(FINDINGS[name], n, seed))

            rows = list(FINDINGS[name].shorten or preset.pretrain.shorten_rows)
            run = {"steps": n, "seed": seed, "threads": threads, "shorten_rows": rows}
            key = {"preset": preset.name, "name": name, **run}
            losses[name].append(kept_in(out, key, loss))
            print(f"seed {seed}: {name}: {losses[name][-1]:.4f}", flush=True)
    for name in names:
        print(row(name, shares[name], round(steps / shares[name]), losses[name], losses[PRESET]))


def row(name: str, share: float, steps: int, own: list[float], preset: list[float]) -> str:
    """Format a line of the table."""
    less = [a - b for a, b in zip(own, preset, strict=True)]
    each = ", ".join(f"{x:+.4f}" for x in less)
    spread = f" ± {stdev(less) / len(less) ** 0.5:.4f}" if len(less) > 1 else ""
    return (
        f"| {name} | {share:.3f} | {steps} | {mean(own):.4f} | {mean(less):+.4f}{spread} | {each} |"
    )


if __name__ == "__main__":
    typer.run(main)
