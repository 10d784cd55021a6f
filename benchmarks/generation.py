"""Speed of generation: llmill's beside transformers', GPT-2's shape of 124M with random weights.

python benchmarks/generation.py
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn

from llmill.contract import runtime
from llmill.model import huggingface
from llmill.model.generate import Writer, generate
from llmill.model.settings import Model
from llmill.model.shapes import SHAPES
from llmill.model.transformer import Transformer

SEED, THREADS, VOCAB = 0, 2, 50257
PROMPT, NEW = 32, 128  # tokens


def peers(model: Transformer) -> nn.Module | None:
    """The same weights in transformers; None where it is not installed."""
    try:
        import transformers
    except ImportError:
        print("transformers is left out; see benchmarks/README.md")
        return None
    with tempfile.TemporaryDirectory() as folder:
        architecture = huggingface.fitting(model.config)
        special = {"eos_token_id": None, "bos_token_id": None}
        huggingface.save(Path(folder), model, architecture, special)
        return transformers.AutoModelForCausalLM.from_pretrained(folder)


def written(writer: Writer, texts: list[list[int]], new: int) -> None:
    """So many new tokens of each text by a writer that is there already, as chat and the server
    have it.
    """
    numbers = [writer.begin(ids) for ids in texts]
    for _ in range(new):
        writer.step()
    for number in numbers:
        writer.end(number)


def bandwidth(size: int) -> float:
    """Bytes a second of reading memory once: the fastest of five sums over `size` bytes."""
    numbers, seconds = torch.ones(size // 4), []
    for _ in range(5):
        begun = time.perf_counter()
        numbers.sum()
        seconds.append(time.perf_counter() - begun)
    return size / min(seconds)


def main(
    rounds: Annotated[int, typer.Option(min=2, help="Of each, in turns.")] = 3,
    new: Annotated[int, typer.Option(help="Tokens to generate.")] = NEW,
) -> None:
    """Tokens a second, medians of ratios taken round by round."""
    runtime.start(SEED, THREADS)
    model = Transformer(Model(**SHAPES["gpt2-124m"]), VOCAB).eval()
    theirs = peers(model)
    half = Transformer(model.config, VOCAB).eval().bfloat16()
    prompts = torch.randint(VOCAB, (8, PROMPT))

    def ours(of: Transformer, rows: int) -> Callable[[], object]:
        begun = time.perf_counter()
        writer = Writer(of, expected=rows)
        print(f"{rows} rows, {of.head.weight.dtype}: packed in {time.perf_counter() - begun:.2f} s")
        texts = prompts[:rows].tolist()
        return lambda: written(writer, texts, new)

    def reference(rows: int) -> Callable[[], Tensor]:
        assert theirs is not None
        settings = {"max_new_tokens": new, "do_sample": False, "pad_token_id": 0}
        return lambda: theirs.generate(prompts[:rows], **settings)

    alone = {"max_new_tokens": new, "end_of_text": -1}
    tries = {"llmill": ours(model, 1), "llmill, bfloat16": ours(half, 1)}
    tries["llmill, 8 rows"] = ours(model, 8)
    tries["llmill, packed anew"] = lambda: generate(model, prompts[:1].tolist(), **alone)
    if theirs is not None:
        tries |= {"transformers": reference(1), "transformers, 8 rows": reference(8)}
    seconds: dict[str, list[float]] = {name: [] for name in tries}
    for turn in range(rounds + 1):
        for name in random.Random(turn).sample(list(tries), len(tries)):
            begun = time.perf_counter()
            tries[name]()
            seconds[name].append(time.perf_counter() - begun)
    weights = sum(p.numel() for p in model.parameters()) * 4
    limit = bandwidth(weights) / weights
    print(f"read once a token, the weights allow {limit:.1f} tokens/s in float32")
    for name, taken in seconds.items():
        rows = 8 if name.endswith("8 rows") else 1
        speed = statistics.median(rows * new / t for t in taken[1:])
        print(f"{name}: {speed:.1f} tokens/s{ratios(name, rows, seconds)}")


def ratios(name: str, rows: int, seconds: dict[str, list[float]]) -> str:
    """The speed of one beside one text's in float32, of llmill and of transformers."""
    said = []
    for base in ("llmill", "transformers"):
        if base in seconds and base != name:
            turns = zip(seconds[base][1:], seconds[name][1:], strict=True)
            said.append(f"{statistics.median(rows * b / t for b, t in turns):.2f} of {base}'s")
    return "".join(f", {each}" for each in said)


if __name__ == "__main__":
    typer.run(main)
