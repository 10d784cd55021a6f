"""Time and memory of loading published weights: a folder with GPT-2's shape of 124M, as
transformers writes it.

python benchmarks/loading.py
"""

import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from children import CHILDREN

from llmill.model import huggingface
from llmill.model.settings import Model
from llmill.model.shapes import SHAPES
from llmill.model.transformer import Transformer

VOCAB = 50257


def write(folder: Path) -> None:
    """Write random weights as a folder of transformers."""
    model = Transformer(Model(**SHAPES["gpt2-124m"]), VOCAB)
    special = {"eos_token_id": None, "bos_token_id": None}
    huggingface.save(folder, model, huggingface.fitting(model.config), special)


def load(folder: Path) -> tuple[float, float]:
    """Return the seconds, and the bytes by which the process's peak grew after all imports."""
    torch.zeros(1).sum()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    model = huggingface.load(folder)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert model.vocab_size == VOCAB
    return seconds, (peak - before) * 1024


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, each in its own process.")] = 5,
) -> None:
    """Load a file of 498 MB repeatedly."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with CHILDREN.Pool(1) as pool:
            pool.apply(write, (folder,))
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        with CHILDREN.Pool(1, maxtasksperchild=1) as pool:
            found = [pool.apply(load, (folder,)) for _ in range(rounds)]
    seconds, grown = zip(*found, strict=True)
    print(
        f"{size / 1e6:.0f} MB: {statistics.median(seconds):.1f} s, the slowest {max(seconds):.1f}"
    )
    print(f"at the peak {max(grown) / size:.2f} times the file above the imports")


if __name__ == "__main__":
    typer.run(main)
