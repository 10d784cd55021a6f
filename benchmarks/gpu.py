"""Checks that need a GPU: that it computes as the CPU does, that it resumes exactly, and its speed.

python benchmarks/gpu.py             # correct, curve, resume, speed, learn
python benchmarks/gpu.py speed       # one of them
python benchmarks/gpu.py --device cpu --tiny    # tries this file where there is no GPU
"""

import os
import tempfile
from copy import deepcopy
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import engine
import numpy as np
import torch
import typer
from torch import Tensor, nn

from llmill.contract import runtime
from llmill.contract.hardware import Runtime
from llmill.model.settings import Model
from llmill.model.shapes import SHAPES
from llmill.model.transformer import Transformer
from llmill.runner import params
from llmill.text.tokenization.shards import Shards
from llmill.training.batches import Windows, windows
from llmill.training.loop import Work
from llmill.training.losses import token_loss
from llmill.training.meters import Meter, flops_per_token, matrix_peak
from llmill.training.settings import Optimizer, Schedule, Training
from llmill.world.corpus import documents

SEED, THREADS = 1, min(8, os.cpu_count() or 1)
WORLD = Path(__file__).parents[1] / "presets" / "world.yaml"
SMALL = {"n_layer": 4, "n_head": 4, "n_kv_head": 4, "n_embd": 128, "mlp_hidden": 512}
TINY = SMALL | {"n_layer": 2, "n_embd": 32, "mlp_hidden": 64}
ADAMW = Optimizer(kind="adamw", lr=6e-4, muon_lr=0.02, weight_decay=0.1, betas=[0.9, 0.95])
MUON = ADAMW.model_copy(update={"kind": "muon", "lr": 3e-3, "weight_decay": 0.0})


@dataclass(frozen=True)
class Try:
    """The device to compute on, and the size of the checks."""

    device: str
    tiny: bool

    def hardware(self, dtype: str) -> Runtime:
        return Runtime(device=self.device, dtype=dtype)

    @property
    def training(self) -> Runtime:
        """Runtime of trainings: in bfloat16, except on a CPU, which would be many times slower."""
        return self.hardware("auto" if self.tiny else "bfloat16")

    def size(self, full: int, tiny: int) -> int:
        return tiny if self.tiny else full


def schedule() -> Schedule:
    return engine.schedule(
        decay="constant_linear", warmup_steps=10, decay_share=0.5, min_factor=0.0
    )


def gpt2(**changes: int) -> Model:
    return Model(**SHAPES["gpt2-124m"] | changes)


def modern(**changes: int) -> Model:
    """Return the switches of the world preset, with changes."""
    return Model(**params.load(WORLD).model.model_dump() | changes)


def correct(its: Try) -> None:
    """Compare loss and gradients with float64 on the CPU, as ||made - wanted|| / ||wanted||."""
    text = tokens(1000, 20_000)
    for name, form in (("gpt2", gpt2), ("modern", modern)):
        exact = fresh(form(**SMALL, block_size=128), 1000).double()
        batch = windows(text, 128, range(8))
        wanted = figures(exact, batch.inputs[0], batch.targets)
        for dtype, compiled in (("float32", False), ("bfloat16", False), ("bfloat16", True)):
            if compiled and its.tiny:
                continue
            hardware = its.hardware(dtype)
            model = deepcopy(exact).float().to(runtime.device(hardware))
            called = torch.compile(model) if compiled else model
            moved = batch.to(runtime.device(hardware))
            with runtime.autocast(hardware):
                loss = token_loss(called, moved)
            loss.backward()
            errors = [
                float((made.double().cpu() - true).norm() / true.norm())
                for made, true in zip([loss.detach(), *gradients(model)], wanted, strict=True)
                if true.norm() > 0
            ]
            label = f"{name}, {dtype}{', compiled' if compiled else ''}"
            print(f"correct: {label}: loss {errors[0]:.1e}, worst gradient {max(errors[1:]):.1e}")


def figures(model: nn.Module, idx: Tensor, targets: Tensor) -> list[Tensor]:
    """Return the loss, from all logits at once, and the gradients; ids and targets are (B, T)."""
    logits = model(idx).flatten(0, 1)
    loss = nn.functional.cross_entropy(logits, targets.flatten(), reduction="sum")
    loss.backward()
    return [loss.detach(), *gradients(model)]


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad for p in model.parameters()]


def curve(its: Try) -> None:
    """Compare the losses of the first 20 steps with those of the CPU, in float32."""
    losses = []
    for device in ("cpu", its.device):
        with tempfile.TemporaryDirectory() as folder:
            model, work = small(its, Runtime(device=device, dtype="float32"), 20, every=1)
            rows, _ = engine.train(model, work, Path(folder))
        losses.append([row["train_loss"] for row in rows])
    apart = max(abs(a - b) for a, b in zip(*losses, strict=True))
    print(f"curve: {losses[0][0]:.4f} to {losses[0][-1]:.4f}; at most {apart:.1e} from the CPU's")


def resume(its: Try) -> None:
    """Compare the weights after 20 steps with those after resuming from the state of step 10."""
    with tempfile.TemporaryDirectory() as folder:
        weights, intervals = [], []
        for _ in range(2):
            model, work = small(its, its.training, 20, every=10)
            _, tracked = engine.train(model, work, Path(folder))
            # Restored rows have no meters.
            intervals.append(sum("tokens_per_second" in row for row in tracked))
            # Without the marker of step 20, the second run resumes from step 10.
            for state in Path(folder).glob(f"{20:09d}*.json"):
                state.unlink()
            weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    same = "same bits" if torch.equal(*weights) else "DIFFERENT"
    print(f"resume: {same}; {intervals[0]} intervals, then {intervals[1]}")


def small(its: Try, hardware: Runtime, steps: int, every: int) -> tuple[Transformer, Work]:
    settings = engine.settings(steps, 8, MUON, schedule(), every)
    shape = modern(**TINY if its.tiny else SMALL, block_size=128)
    return fresh(shape, 1000), work(tokens(1000, 100_000), 128, settings, hardware)


def speed(its: Try) -> None:
    """Measure gpt2-124m at 1,024 tokens, compiled, in the last of three intervals."""
    shape = gpt2(**SMALL, block_size=64) if its.tiny else gpt2()
    vocab, steps = its.size(50257, 1000), its.size(60, 6)
    hardware = its.training
    model = fresh(shape, vocab)
    peak = matrix_peak(runtime.device(hardware), runtime.dtype(hardware))
    meter = Meter(flops_per_token(model, shape.block_size), peak)
    settings = engine.settings(steps, its.size(32, 2), ADAMW, schedule(), steps // 3)
    text = tokens(vocab, 200 * shape.block_size)
    with tempfile.TemporaryDirectory() as folder:
        task = work(text, shape.block_size, settings, hardware, compiled=not its.tiny)
        last = engine.train(model, task, Path(folder), meter)[1][-1]
    print(
        f"speed: {last['tokens_per_second']:,.0f} tokens/s, utilisation {last['utilisation']:.1%} "
        f"of {peak / 1e12:.1f} TFLOP/s, {last['peak_memory_bytes'] / 2**30:.1f} GiB"
    )


def learn(its: Try) -> None:
    """Train briefly on the built-in world, with a token per byte: the training loss falls."""
    world = params.load(WORLD).download.world
    text = "\n\n".join(text for texts in documents(world).values() for text in texts)
    ids = np.frombuffer(text.encode(), dtype=np.uint8).astype(np.uint16)
    shape = modern(**SMALL if its.tiny else {"n_layer": 8, "n_embd": 512, "mlp_hidden": 2048})
    settings = engine.settings(its.size(400, 6), its.size(64, 2), MUON, schedule(), its.size(50, 2))
    with tempfile.TemporaryDirectory() as folder:
        task = work(engine.sequence(ids, 256), shape.block_size, settings, its.training)
        rows, _ = engine.train(fresh(shape, 256), task, Path(folder))
    print("learn:", " ".join(f"{row['step']}: {row['train_loss']:.3f}" for row in rows))


def fresh(shape: Model, vocab: int) -> Transformer:
    runtime.start(SEED, THREADS)
    return Transformer(shape, vocab)


def tokens(vocab: int, count: int) -> Shards:
    """Return random tokens, each twice in a row, so that there is something to learn."""
    ids = np.random.default_rng(SEED).integers(vocab, size=count // 2).repeat(2)
    return engine.sequence(ids.astype(np.uint16), vocab)


def work(
    shards: Shards, block: int, settings: Training, hardware: Runtime, compiled: bool = False
) -> Work:
    rows = Windows(shards, block, SEED)
    return Work(
        rows, token_loss, lambda model, step: {}, settings, hardware, SEED, compile=compiled
    )


CHECKS = {each.__name__: each for each in (correct, curve, resume, speed, learn)}
Check = StrEnum("Check", list(CHECKS))


def main(
    checks: Annotated[list[Check] | None, typer.Argument(help="Default: all checks.")] = None,
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    tiny: Annotated[bool, typer.Option("--tiny", help="Use sizes that a CPU can run.")] = False,
) -> None:
    """Run the checks; each prints its figures."""
    for name in checks or CHECKS:
        CHECKS[name](Try(device, tiny))


if __name__ == "__main__":
    typer.run(main)
