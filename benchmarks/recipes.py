"""Validation loss of pretraining recipes at equal time, on the data of this repository: run stage
`tokenize` of a preset first.

    python benchmarks/recipes.py --seconds 45
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import engine
import typer

from llmill.contract import params, runtime
from llmill.contract.schema import Model, Optimizer, Params, Schedule
from llmill.contract.shapes import GPT2
from llmill.model.transformer import Transformer
from llmill.stages.pretrain import load, loss_over
from llmill.text.shards import Shards
from llmill.text.tokenizer import Tokenizer
from llmill.training.batches import Windows
from llmill.training.loop import Work
from llmill.training.losses import token_loss

COSINE = Schedule(decay="cosine", warmup_steps=100, decay_share=1.0, min_factor=0.1)
TRIAL = 12  # steps that tell how many fit into the time


@dataclass(frozen=True)
class Recipe:
    """A model and how it is trained."""

    model: Model
    optimizer: Optimizer
    schedule: Schedule


def recipes(preset: Params) -> dict[str, Recipe]:
    """The preset's own, with Muon at several rates; its form with AdamW; GPT-2's with AdamW."""
    own, kept = preset.model, preset.pretrain.training
    found = {}
    for rate in (1e-3, 3e-3):
        form = own.model_copy(update=GPT2 | {"block_size": own.block_size})
        adamw = Optimizer(kind="adamw", lr=rate, muon_lr=1.0, weight_decay=0.1, betas=[0.9, 0.95])
        found[f"gpt2, adamw {rate}, cosine"] = Recipe(form, adamw, COSINE)
    for rate in (3e-3, 8e-3):
        adamw = kept.optimizer.model_copy(update={"kind": "adamw", "lr": rate})
        found[f"preset's form, adamw {rate}, preset's schedule"] = Recipe(own, adamw, kept.schedule)
    for rate in (0.01, 0.02, 0.03, 0.04):
        muon = kept.optimizer.model_copy(update={"kind": "muon", "muon_lr": rate})
        found[f"preset's form and schedule, muon {rate}"] = Recipe(own, muon, kept.schedule)
    return found


def main(
    file: Annotated[Path, typer.Option("--params", help="Of the run.")] = Path("params.yaml"),
    seconds: Annotated[float, typer.Option(help="Of training, for each recipe.")] = 45.0,
    seed: int = 1,
) -> None:
    """For each recipe: its loss, the steps that fit into the time, the time that they took."""
    preset = params.load(file)
    tokenizer = Tokenizer.load(Path(preset.paths.tokenizer, "bpe"))
    block = preset.model.block_size
    train, held_out = (
        load(Path(preset.paths.tokenize, split), tokenizer, block)
        for split in ("train", "validate")
    )
    for name, recipe in recipes(preset).items():
        trials = [trained(recipe, TRIAL, preset, train, seed)[1] for _ in range(3)]
        steps = max(1, round(seconds * TRIAL / median(trials)))
        model, took = trained(recipe, steps, preset, train, seed)
        loss = loss_over(model.eval(), held_out, block, tokenizer, at_most=None)["validation_loss"]
        print(f"{name}: {loss:.4f} after {steps} steps in {took:.0f} s", flush=True)


def trained(
    recipe: Recipe, steps: int, preset: Params, train: Shards, seed: int
) -> tuple[Transformer, float]:
    """A new model after so many steps, and the seconds of training."""
    runtime.start(seed, preset.pretrain.threads)
    model = Transformer(recipe.model, train.n_vocab)
    batch = preset.pretrain.training.batch_size
    work = Work(
        Windows(train, recipe.model.block_size, seed), token_loss, lambda model, step: {},
        engine.settings(steps, batch, recipe.optimizer, recipe.schedule), preset.runtime, seed,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        engine.train(model, work, Path(folder))
        return model, time.perf_counter() - begun


if __name__ == "__main__":
    typer.run(main)
