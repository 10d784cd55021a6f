"""Validation loss of pretraining recipes at equal time, on the data of this repository. Run stage
`tokenize` of a preset first.

    python benchmarks/recipes.py --seconds 45
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Annotated

import engine
import typer

from llmill.contract import pipeline
from llmill.model import initial
from llmill.model.settings import Model
from llmill.model.shapes import GPT2
from llmill.model.transformer import Transformer
from llmill.runner import params
from llmill.runner.tree import Params
from llmill.text.tokenization.shards import Shards
from llmill.text.tokenization.tokenizer import Tokenizer
from llmill.training.settings import Optimizer, Schedule
from llmill.training.validation import loss_over

COSINE = {"decay": "cosine", "warmup_steps": 100, "decay_share": 1.0, "min_factor": 0.1}
TRIAL = 12  # steps of a trial, which gives the number of steps that fit into the time


def folder(preset: Params, stage: str) -> Path:
    """Return the folder of a stage's result."""
    return pipeline.folder(params.stages(preset), stage)


def shape_of(preset: Params) -> Model:
    """Return the shape of the model that the preset trains."""
    return initial.shape(preset.model, folder(preset, "download") / "init")


def recipes(preset: Params) -> dict[str, tuple[Model, Optimizer, Schedule, Sequence[int]]]:
    """Return the preset's recipe with Muon at several learning rates, its switches with AdamW, and
    GPT-2's switches and whole rows with AdamW. The last part of a recipe is `shorten_rows`.
    """
    own, kept, times = shape_of(preset), preset.pretrain.training, preset.pretrain.shorten_rows
    found: dict[str, tuple[Model, Optimizer, Schedule, Sequence[int]]] = {}
    for rate in (1e-3, 3e-3):
        form = own.model_copy(update=GPT2 | {"block_size": own.block_size})
        adamw = Optimizer(kind="adamw", lr=rate, muon_lr=1.0, weight_decay=0.1, betas=[0.9, 0.95])
        cosine = kept.schedule.model_copy(update=COSINE)
        found[f"gpt2, adamw {rate}, cosine"] = form, adamw, cosine, (1,)
    for rate in (3e-3, 8e-3):
        adamw = kept.optimizer.model_copy(update={"kind": "adamw", "lr": rate})
        found[f"preset's form, adamw {rate}, preset's schedule"] = own, adamw, kept.schedule, times
    for rate in (0.01, 0.02, 0.03, 0.04):
        muon = kept.optimizer.model_copy(update={"kind": "muon", "muon_lr": rate})
        found[f"preset's form and schedule, muon {rate}"] = own, muon, kept.schedule, times
    return found


def main(
    file: Annotated[Path, typer.Option("--params", help="File of the run.")] = Path("params.yaml"),
    seconds: Annotated[float, typer.Option(help="Seconds of training per recipe.")] = 45.0,
    seed: int = 1,
) -> None:
    """Print for each recipe: its loss, the steps that fit into the time, and their time."""
    preset = params.load(file)
    tokenizer = Tokenizer.load(folder(preset, "tokenizer") / "bpe")
    block, settings = shape_of(preset).block_size, preset.pretrain
    train, held_out = (
        Shards.for_windows(folder(preset, "tokenize") / split, tokenizer, block)
        for split in ("train", "validate")
    )

    def trained(
        model: Model, optimizer: Optimizer, schedule: Schedule, times: Sequence[int], steps: int
    ) -> tuple[Transformer, float]:
        training = engine.settings(steps, settings.training.batch_size, optimizer, schedule)
        recipe = engine.Recipe(model, training, times)
        return engine.trained(recipe, train, preset.runtime, settings.threads, seed)

    for name, parts in recipes(preset).items():
        trials = [trained(*parts, TRIAL)[1] for _ in range(3)]
        steps = max(1, round(seconds * TRIAL / median(trials)))
        model, took = trained(*parts, steps)
        loss = loss_over(model.eval(), held_out, block, tokenizer, at_most=None)["validation_loss"]
        print(f"{name}: {loss:.4f} after {steps} steps in {took:.0f} s", flush=True)


if __name__ == "__main__":
    typer.run(main)
