"""Speed of generation: llmill compared with transformers, in GPT-2's shape of 124M with random
weights, or with a model as in `chat`, then also compared with llama.cpp.

python benchmarks/generation.py
python benchmarks/generation.py --model FOLDER
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import httpx
import torch
import typer
from torch import Tensor, nn

from llmill import models
from llmill.contract import runtime
from llmill.model import gguf_out, huggingface
from llmill.model.generate import Writer, generate
from llmill.model.int8 import in_int8
from llmill.model.settings import Model
from llmill.model.shapes import SHAPES
from llmill.model.transformer import Transformer

SEED, THREADS, VOCAB = 0, 2, 50257
PROMPT, NEW = 32, 128  # tokens


def peers(model: Transformer) -> nn.Module | None:
    """Return the same weights in transformers, or None if it is not installed."""
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


def llama_cpp(name: str, folder: Path, prompt: list[int]) -> Callable[[int], object] | None:
    """Return a function that generates a number of tokens with the same weights in llama.cpp's
    eight bits (Q8_0), or None if xllamacpp is not installed.
    """
    try:
        import xllamacpp
    except ImportError:
        print("llama.cpp is left out; see benchmarks/README.md")
        return None
    language = models.language_model(name)
    said = gguf_out.Said("benchmark", None, True)
    gguf_out.save(folder / "model.gguf", language.model, language.tokenizer, said, "q8_0")
    params = xllamacpp.CommonParams()
    params.model.path = str(folder / "model.gguf")
    params.n_ctx, params.n_parallel, params.n_gpu_layers = 1024, 1, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
    params.port, params.verbosity = 0, -1
    server = xllamacpp.Server(params)
    client = httpx.Client(base_url=server.listening_address, trust_env=False, timeout=None)

    def write(new: int, server: object = server) -> object:  # keeps the server alive
        asked = {"prompt": prompt, "n_predict": new, "temperature": 0, "ignore_eos": True}
        return client.post("/completion", json=asked | {"cache_prompt": False}).raise_for_status()

    return write


def written(writer: Writer, texts: list[list[int]], new: int) -> None:
    """Generate `new` tokens of each text with an existing writer, as chat and the server do."""
    numbers = [writer.begin(ids) for ids in texts]
    for _ in range(new):
        writer.step()
    for number in numbers:
        writer.end(number)


def bandwidth(size: int) -> float:
    """Return the bytes per second of reading memory: the fastest of five sums over `size` bytes."""
    numbers, seconds = torch.ones(size // 4), []
    for _ in range(5):
        begun = time.perf_counter()
        numbers.sum()
        seconds.append(time.perf_counter() - begun)
    return size / min(seconds)


def main(
    rounds: Annotated[int, typer.Option(min=2, help="Rounds of each, in turns.")] = 3,
    new: Annotated[int, typer.Option(help="Tokens to generate.")] = NEW,
    model: Annotated[str | None, typer.Option(help="As in chat. Default: random weights.")] = None,
) -> None:
    """Print tokens per second, and medians of ratios taken round by round."""
    runtime.start(SEED, THREADS)
    whole = opened(model)
    theirs = peers(whole)
    prompts = torch.randint(whole.vocab_size, (8, PROMPT))

    def ours(of: Transformer, rows: int, kind: str) -> Callable[[], object]:
        begun = time.perf_counter()
        writer = Writer(in_int8(of) if kind == "int8" else of, expected=rows)
        print(f"{rows} rows, {kind}: packed in {time.perf_counter() - begun:.2f} s")
        texts = prompts[:rows].tolist()
        return lambda: written(writer, texts, new)

    def reference(rows: int) -> Callable[[], Tensor]:
        assert theirs is not None
        settings = {"max_new_tokens": new, "do_sample": False, "pad_token_id": 0}
        return lambda: theirs.generate(prompts[:rows], **settings)

    alone = {"max_new_tokens": new, "end_of_text": -1}
    tries = {"llmill": ours(whole, 1, "float32"), "llmill, 8 rows": ours(whole, 8, "float32")}
    tries["llmill, bfloat16"] = ours(opened(model).bfloat16(), 1, "bfloat16")
    tries["llmill, int8"] = ours(whole, 1, "int8")
    tries["llmill, int8, 8 rows"] = ours(whole, 8, "int8")
    tries["llmill, packed anew"] = lambda: generate(whole, prompts[:1].tolist(), **alone)
    if theirs is not None:
        tries |= {"transformers": reference(1), "transformers, 8 rows": reference(8)}
    with tempfile.TemporaryDirectory() as folder:
        other = llama_cpp(model, Path(folder), prompts[0].tolist()) if model else None
        if other is not None:
            tries["llama.cpp, Q8_0"] = partial(other, new)
        measure(tries, rounds, new, sum(p.numel() for p in whole.parameters()) * 4)


def opened(name: str | None) -> Transformer:
    """Return a model as in `chat`, or GPT-2's shape with random weights."""
    if name is not None:
        return models.language_model(name).model
    return Transformer(Model(**SHAPES["gpt2-124m"]), VOCAB).eval()


def measure(tries: dict[str, Callable[[], object]], rounds: int, new: int, weights: int) -> None:
    """Time all ways in turns, in random order, after one round that does not count, and print the
    results. `weights` is the bytes of the weights in float32.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tries}
    for turn in range(rounds + 1):
        for name in random.Random(turn).sample(list(tries), len(tries)):
            begun = time.perf_counter()
            tries[name]()
            seconds[name].append(time.perf_counter() - begun)
    limit = bandwidth(weights) / weights
    print(f"read once a token, the weights allow {limit:.1f} tokens/s in float32")
    for name, taken in seconds.items():
        rows = 8 if name.endswith("8 rows") else 1
        speed = statistics.median(rows * new / t for t in taken[1:])
        print(f"{name}: {speed:.1f} tokens/s{ratios(name, rows, seconds)}")


def ratios(name: str, rows: int, seconds: dict[str, list[float]]) -> str:
    """Format the speed of a way relative to llmill and transformers in float32, and to llama.cpp,
    each with a single text.
    """
    said = []
    for base in ("llmill", "transformers", "llama.cpp, Q8_0"):
        if base in seconds and base != name:
            turns = zip(seconds[base][1:], seconds[name][1:], strict=True)
            said.append(f"{statistics.median(rows * b / t for b, t in turns):.2f} of {base}'s")
    return "".join(f", {each}" for each in said)


if __name__ == "__main__":
    typer.run(main)
