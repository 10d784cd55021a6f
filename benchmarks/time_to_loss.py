"""Wall-clock time to a validation loss on the characters of tiny Shakespeare: the recipe of the
world preset compared with the plain recipe of the field, both with llmill's engine.

    python benchmarks/time_to_loss.py --data ../shared/data
"""

import sys
from pathlib import Path
from statistics import median
from typing import Annotated

import engine
import numpy as np
import torch
import typer

from llmill.contract.hardware import Runtime
from llmill.model.settings import Model
from llmill.model.transformer import Transformer
from llmill.runner import params
from llmill.text.tokenization.shards import Shards
from llmill.training.batches import windows
from llmill.training.losses import token_loss
from llmill.training.settings import Optimizer

BLOCK = 64
WORLD = Path(__file__).parents[1] / "presets" / "world.yaml"
SHAPE = {
    "n_layer": 4, "n_head": 4, "n_kv_head": 4, "n_embd": 128, "block_size": BLOCK, "causal": True,
    "rotary_base": 10000.0, "rotary_scaling": None, "norm_epsilon": 1e-5,
    "mlp_hidden": 512, "bias": False, "dropout": 0.0,
}  # fmt: skip
HARDWARE = Runtime(device="cpu", dtype="float32")


def plain() -> engine.Recipe:
    """Return the plain recipe of the field."""
    return engine.Recipe(
        Model(
            **SHAPE, norm="layernorm", norm_weight=True, norm_embedding=False, position="learned",
            mlp="gelu", qk_norm=False, tied=True,
        ),
        engine.settings(
            2000, 12,
            Optimizer(kind="adamw", lr=1e-3, muon_lr=1e-3, weight_decay=0.1, betas=[0.9, 0.99]),
            engine.schedule(decay="cosine", warmup_steps=100, decay_share=1.0, min_factor=0.1),
        ),
    )  # fmt: skip


def ours(steps: int, batch: int) -> engine.Recipe:
    """Return the switches, optimizer, schedule and short rows of the world preset, in this
    shape.
    """
    world = params.load(WORLD)
    model, kept = world.model.model_dump() | SHAPE, world.pretrain.training
    settings = engine.settings(steps, batch, kept.optimizer, kept.schedule)
    return engine.Recipe(Model(**model), settings, world.pretrain.shorten_rows)


def main(
    data: Annotated[
        Path, typer.Option(envvar="LLMILL_MIRROR", help="Folder of the real data.")
    ] = Path("../shared/data"),
    seeds: int = 3,
    threads: int = 2,
    steps: Annotated[int, typer.Option(help="Steps of our recipe.")] = 350,
    batch: int = 12,
) -> None:
    """Run the plain recipe and then ours for each seed; print their losses and ratios of times."""
    file = data / "pretrain/tinyshakespeare.txt"
    if not file.exists():
        sys.exit(f"{file}: missing; name the folder of the real data with --data")
    text, held_out = characters(file)
    ratios, reached = [], 0
    for seed in range(1, seeds + 1):
        plain_loss, plain_seconds = run(plain(), text, held_out, seed, threads)
        loss, seconds = run(ours(steps, batch), text, held_out, seed, threads)
        ratios.append(seconds / plain_seconds)
        reached += loss <= plain_loss
        print(
            f"seed {seed}: plain {plain_loss:.4f} in {plain_seconds:.1f} s; "
            f"ours {loss:.4f} in {seconds:.1f} s; ratio {ratios[-1]:.3f}",
            flush=True,
        )
    print(f"median ratio {median(ratios):.3f}; as good as plain in {reached} of {seeds}")


def characters(file: Path) -> list[Shards]:
    """Encode the text by characters: nine tenths are for training, the rest is held out."""
    text = file.read_text(encoding="utf-8")
    known = {c: i for i, c in enumerate(sorted(set(text)))}
    ids = np.array([known[c] for c in text], dtype=np.uint16)
    cut = len(ids) * 9 // 10
    return [engine.sequence(part, len(known)) for part in (ids[:cut], ids[cut:])]


def run(
    recipe: engine.Recipe, text: Shards, held_out: Shards, seed: int, threads: int
) -> tuple[float, float]:
    """Train; return the validation loss in nats and the seconds of training."""
    model, seconds = engine.trained(recipe, text, HARDWARE, threads, seed)
    return loss_over(model.eval(), held_out), seconds


@torch.inference_mode()
def loss_over(model: Transformer, shards: Shards) -> float:
    """Return the mean loss in nats per token over all non-overlapping windows."""
    nats, tokens = 0.0, 0
    count = shards.n_windows(BLOCK)
    for start in range(0, count, 64):
        batch = windows(shards, BLOCK, range(start, min(start + 64, count)))
        nats += float(token_loss(model, batch))
        tokens += batch.tokens
    return nats / tokens


if __name__ == "__main__":
    typer.run(main)
