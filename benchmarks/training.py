"""Speed and memory of one training step: llmill's model compared with transformers' and litgpt's.

python benchmarks/training.py
"""

import importlib
import random
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
import yaml
from children import CHILDREN
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from llmill.contract import runtime
from llmill.model.settings import Model
from llmill.model.shapes import GPT2
from llmill.model.transformer import Transformer

THREADS, SEED, LR, BLOCK_SIZE = 2, 0, 1e-3, 256
WARM_UP, MEMORY_STEPS = 3, 5  # steps
SIDE = 2048  # rows of two square matrices; the speed of their product is taken as the peak
REFERENCE, COMPILED = "transformers", "-compiled"
PEERS = (REFERENCE, "litgpt")
WORLD = Path(__file__).parents[1] / "presets" / "world.yaml"
Step = Callable[[], object]


@dataclass(frozen=True)
class Shape:
    vocab_size: int
    batch_size: int
    sizes: dict[str, int]  # by names that all of the libraries use


SHAPES = {
    "small": Shape(1024, 16, {"n_embd": 128, "n_layer": 4, "n_head": 4}),
    "large": Shape(4096, 8, {"n_embd": 256, "n_layer": 6, "n_head": 8}),
}
TINY = Shape(64, 1, {"n_embd": 64, "n_layer": 1, "n_head": 2})  # loads all that a step needs


def llmill_modern(shape: Shape, **switches: Any) -> nn.Module:
    """Return llmill's transformer with the switches of the preset `world`, or with others."""
    form = yaml.safe_load(WORLD.read_text(encoding="utf-8"))["model"] | switches | shape.sizes
    form |= {"n_kv_head": form["n_head"], "mlp_hidden": 4 * form["n_embd"]}
    return Transformer(Model(**form | {"block_size": BLOCK_SIZE}), shape.vocab_size)


def llmill_gpt2(shape: Shape) -> nn.Module:
    """Return llmill's transformer with the switches of GPT-2's block, for a like-for-like test."""
    return llmill_modern(shape, **GPT2)


def transformers(shape: Shape) -> nn.Module:
    """Return GPT2LMHeadModel without dropout, with its default attention."""
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = shape.sizes | {"vocab_size": shape.vocab_size, "n_positions": BLOCK_SIZE}
    form = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0, "use_cache": False}
    model = GPT2LMHeadModel(GPT2Config(**sizes, **form, bos_token_id=None, eos_token_id=None))
    model.loss_type = "ForCausalLM"  # the default, but set here it avoids a warning
    return model


def litgpt(shape: Shape) -> nn.Module:
    """Return litgpt's GPT, as close to GPT-2 as possible: it supports only rotary positions."""
    from litgpt.config import Config
    from litgpt.model import GPT

    sizes = shape.sizes | {"padded_vocab_size": shape.vocab_size, "block_size": BLOCK_SIZE}
    form = {"mlp_class_name": "GptNeoxMLP", "gelu_approximate": "tanh", "parallel_residual": False}
    return GPT(Config(**sizes, **form))


class Bare(nn.Module):
    """The matrix products and attention of GPT-2's form with torch's kernels, and nothing else."""

    def __init__(self, shape: Shape):
        super().__init__()
        c, self.heads = shape.sizes["n_embd"], shape.sizes["n_head"]
        self.embedding = nn.Embedding(shape.vocab_size, c)
        widths = {"qkv": 3 * c, "out": c, "up": 4 * c}
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {k: nn.Linear(c, n) for k, n in widths.items()} | {"down": nn.Linear(4 * c, c)}
            )
            for _ in range(shape.sizes["n_layer"])
        )
        self.head = nn.Linear(c, shape.vocab_size, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, idx: Tensor) -> Tensor:
        """Return a scalar for the backward pass from ids, (B, T), with logits in chunks as large as
        llmill's.
        """
        x = self.embedding(idx)
        for layer in self.layers:
            heads = layer["qkv"](x).unflatten(-1, (3, self.heads, -1))  # (B, T, 3, H, D)
            y = scaled_dot_product_attention(*heads.permute(2, 0, 3, 1, 4), is_causal=True)
            x = layer["down"](layer["up"](layer["out"](y.transpose(1, 2).flatten(2))))
        chunks = x.flatten(0, 1).split(2**20 // self.head.out_features)
        return torch.stack([self.head(chunk).mean() for chunk in chunks]).mean()


class Plain(nn.Module):
    """GPT-2's form in few lines of torch, as in nanoGPT: LayerNorm, learned positions, GELU, and a
    tied head.
    """

    def __init__(self, shape: Shape):
        super().__init__()
        c = shape.sizes["n_embd"]
        self.embedding = nn.Embedding(shape.vocab_size, c)
        self.position = nn.Embedding(BLOCK_SIZE, c)
        blocks = (PlainBlock(c, shape.sizes["n_head"]) for _ in range(shape.sizes["n_layer"]))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(c)
        self.head = nn.Linear(c, shape.vocab_size, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, idx: Tensor) -> Tensor:
        """Return logits, (B, T, V), from ids, (B, T)."""
        x = self.embedding(idx) + self.position(torch.arange(idx.size(1)))
        return self.head(self.norm(self.blocks(x)))


class PlainBlock(nn.Module):
    """A block of `Plain`."""

    def __init__(self, c: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.qkv, self.out = nn.LayerNorm(c), nn.Linear(c, 3 * c), nn.Linear(c, c)
        self.norm2, self.up, self.down = nn.LayerNorm(c), nn.Linear(c, 4 * c), nn.Linear(4 * c, c)

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        parts = self.qkv(self.norm1(x)).split(c, dim=2)
        q, k, v = (part.view(b, t, self.heads, -1).transpose(1, 2) for part in parts)
        y = scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


def chunked_mean(model: nn.Module, idx: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy, which llmill's model computes from targets, (B, T)."""
    return model(idx, targets=targets) / targets.numel()


def token_mean(model: nn.Module, idx: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy from all logits at once; targets are (B, T)."""
    return cross_entropy(model(idx).flatten(0, 1), targets.flatten())


def no_loss(model: nn.Module, idx: Tensor, targets: Tensor) -> Tensor:
    """Return the output of the model, without a loss."""
    return model(idx)


def own_mean(model: nn.Module, idx: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy as transformers computes it, from labels that it shifts."""
    return model(input_ids=idx, labels=idx).loss


MODELS = {  # by name: constructor, loss, and required module
    "llmill-gpt2": (llmill_gpt2, chunked_mean, "llmill"),
    "llmill-modern": (llmill_modern, chunked_mean, "llmill"),
    "transformers": (transformers, own_mean, "transformers.models.gpt2.modeling_gpt2"),
    "litgpt": (litgpt, token_mean, "litgpt.model"),
    "plain": (Plain, token_mean, "torch"),
    "bare": (Bare, no_loss, "torch"),
}
Which = StrEnum("Which", [*SHAPES, "both"])
Name = StrEnum("Name", list(MODELS))


def set_up(keep_memory: bool) -> None:
    """Set the same seed and threads for all models; llmill's start also keeps freed memory."""
    if keep_memory:
        runtime.start(SEED, THREADS)
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)


def training(name: str, shape: Shape) -> Step:
    """Return a function that takes a training step of a new model on random tokens."""
    tokens = torch.randint(shape.vocab_size, (shape.batch_size, BLOCK_SIZE + 1))
    idx, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()  # (B, T)
    build, loss, _ = MODELS[name.removesuffix(COMPILED)]
    model = build(shape).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, fused=True)
    called = torch.compile(model) if name.endswith(COMPILED) else model

    def step() -> None:
        loss(called, idx, targets).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


@contextmanager
def child(name: str, shape: Shape, keep_memory: bool) -> Iterator[Callable[[], float]]:
    """Run `training` in a new process; a step returns the MiB that were needed so far."""
    here, there = CHILDREN.Pipe()
    process = CHILDREN.Process(target=serve, args=(there, name, shape, keep_memory), daemon=True)
    process.start()
    yield lambda: here.send(True) or here.recv()
    here.send(False)
    process.join()


def serve(pipe: Connection, name: str, shape: Shape, keep_memory: bool) -> None:
    """Take a step on each request. Memory counts from after all imports, including late ones."""
    set_up(keep_memory)
    training(name, TINY)()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = training(name, shape)
    while pipe.recv():
        step()
        pipe.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def take_turns(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every step. All models warm up, then each round has all of them in
    random order.
    """
    warm_up = [name for name in steps for _ in range(WARM_UP)]
    shuffled = random.Random(SEED).sample
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for names in [warm_up, *(shuffled(list(steps), len(steps)) for _ in range(rounds))]:
        for name in names:
            start = time.perf_counter()
            steps[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def flops(name: str, shape: Shape) -> float:
    """Return the FLOPs of a step: 6 N per token, where N counts the parameters in matrix products,
    and those of attention.
    """
    layers = MODELS[name.removesuffix(COMPILED)][0](shape).modules()
    weights = [x.weight for x in layers if hasattr(x, "weight") and not isinstance(x, nn.Embedding)]
    n = sum(w.numel() for w in weights if w is not None and w.dim() == 2)
    own = 12 * shape.sizes["n_layer"] * shape.sizes["n_embd"] * BLOCK_SIZE
    return shape.batch_size * BLOCK_SIZE * (6 * n + own)


def table(shape: Shape, seconds: dict[str, list[float]], memory: dict[str, float]) -> Table:
    """Make a table with a row for each model, with the median and quartiles of ratios per round."""
    made = Table(
        "model", "tokens/s", "ratio", "quartiles", "utilisation", "MiB", "ratio", "first step"
    )
    rounds = {name: taken[WARM_UP:] for name, taken in seconds.items()}
    tokens = shape.batch_size * BLOCK_SIZE
    for name in memory:
        speed = statistics.median(tokens / s for s in rounds[name])
        work = flops(name, shape) / (2 * SIDE**3)  # in units of the product of the two matrices
        pairs = zip(rounds["product"], rounds[name], strict=True)
        utilisation = statistics.median(work * best / s for best, s in pairs)
        cells = [f"{utilisation:.0%}", f"{memory[name]:.0f}", "-", f"{seconds[name][0]:.1f} s"]
        ratio = ["-", "-"]
        if REFERENCE in memory:
            pairs = zip(rounds[REFERENCE], rounds[name], strict=True)
            low, middle, high = statistics.quantiles(r / s for r, s in pairs)
            ratio = [f"{middle:.2f}", f"{low:.2f} to {high:.2f}"]
            cells[2] = f"{memory[name] / memory[REFERENCE]:.2f}"
        made.add_row(name, f"{speed:,.0f}", *ratio, *cells)
    return made


def installed(name: str) -> bool:
    """Return whether the model's library is installed; print a line if it is not."""
    try:
        importlib.import_module(MODELS[name][2])
    except ImportError as error:
        print(f"{name} is left out: {error}; see benchmarks/README.md")
        return False
    return True


def main(
    shape: Annotated[Which, typer.Option(help="Size of model and batch.")] = Which.both,
    rounds: Annotated[int, typer.Option(min=2, help="Timed steps per model.")] = 30,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Also run llmill's models with torch.compile.")
    ] = False,
    only: Annotated[list[Name] | None, typer.Option(help="Only these models.")] = None,
    plain_allocator: Annotated[
        bool, typer.Option(help="Omit the allocator setting that llmill starts with.")
    ] = False,
    processes: Annotated[
        bool, typer.Option(help="One process per model, peers without llmill's setting.")
    ] = False,
) -> None:
    """Measure time and memory of a training step of llmill and its peers."""
    names = [name for name in only or MODELS if installed(name)]
    if compiled:
        names += [name + COMPILED for name in names if name.startswith("llmill")]
    ours = [name for name in names if name not in PEERS]
    keeping = [] if plain_allocator else ours if processes else names
    set_up(not plain_allocator)
    for title in [each for each in SHAPES if shape in (each, Which.both)]:
        size, memory = SHAPES[title], {}
        for name in names:
            with child(name, size, name in keeping) as step:
                memory[name] = [step() for _ in range(MEMORY_STEPS)][-1]
        with ExitStack() as stack:
            a, b = torch.randn(2, SIDE, SIDE)
            steps: dict[str, Step] = {"product": lambda a=a, b=b: torch.mm(a, b)}
            for name in names:
                if processes:
                    steps[name] = stack.enter_context(child(name, size, name in keeping))
                else:
                    steps[name] = training(name, size)
            seconds = take_turns(steps, rounds)
        print(f"\n{title}: {rounds} rounds, {THREADS} threads, processes of their own: {processes}")
        print("llmill's allocator setting:", ", ".join(keeping) or "none of them")
        Console(width=100).print(table(size, seconds, memory))


if __name__ == "__main__":
    typer.run(main)
