"""Processor seconds for texts that could take quadratic time, at a size and at four times that.

    python benchmarks/linear.py

Four times the text takes four times as long, and would take sixteen times as long if the time grew
with the square of the size.
"""

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from llmill.contract.record import sha256_text
from llmill.stages.prepare import work_folder
from llmill.stages.settings.prepare import Prepare
from llmill.text.corpus import documents, intake
from llmill.text.corpus.cleaning import Cleaned
from llmill.text.corpus.contamination import EvaluationTexts
from llmill.text.corpus.documents import Document
from llmill.text.corpus.duplicates import Bands
from llmill.text.corpus.spool import Spool
from llmill.text.tokenization.tokenizer import train

TIMES = 4  # the larger size
VOCAB = 300
EMOJI, LENGTH = "😀😃😄😁", 12
SETTINGS = Prepare(**yaml.safe_load(Path("presets/world.yaml").read_text())["prepare"])


def spaces(n: int) -> str:
    """Return a line of `n` spaces, half of them between two letters and half at its end."""
    gap = " " * (n // 2)
    return f"a{gap}b{gap}\n"


def letters(n: int) -> str:
    """Return a run of `n` letters that do not repeat."""
    return "".join(random.Random(1).choices("abcdefgh", k=n))


def emoji(n: int) -> list[Document]:
    """Return `n` documents without a word."""
    rng = random.Random(1)
    texts = ("".join(rng.choices(EMOJI, k=LENGTH)) for _ in range(n))
    return [Document(text, "emoji", sha256_text(text)) for text in texts]


def removed(found: list[Document]) -> int:
    """Look for duplicates as stage prepare does; return how many documents nearly repeat one."""
    near = SETTINGS.near_duplicates
    with tempfile.TemporaryDirectory() as name:
        made, wanted = Path(name, "made"), EvaluationTexts([], SETTINGS.contamination)
        intake.write(made, found, wanted, Bands(near))
        with work_folder(Path(name, "work")) as work, Spool(work / "spool") as spool:
            cleaned = Cleaned([("emoji", made)], near, spool, work)
            return int(cleaned.by_source()["emoji"]["near_duplicate"])


WORK: dict[str, tuple[int, Callable[[int], Any], Callable[[Any], Any]]] = {
    "clean a line of N spaces": (4_000_000, spaces, documents.clean),
    "learn BPE on a run of N letters": (250_000, letters, lambda text: train([text], VOCAB)),
    "find duplicates among N documents of emoji": (20_000, emoji, removed),
}


def seconds(work: Callable[[Any], Any], given: Any) -> float:
    """Return the processor seconds of the work, in all threads."""
    begun = time.process_time()
    work(given)
    return time.process_time() - begun


def main(rounds: Annotated[int, typer.Option(min=1, help="Rounds of both sizes.")] = 3) -> None:
    """Print for each work the median time at both sizes, and the median ratio of a round."""
    table = Table("work", "N", "s at N", f"s at {TIMES} N", "ratio")
    for name, (n, make, work) in WORK.items():
        small, large = make(n), make(TIMES * n)
        work(make(1000))  # what it loads is loaded before
        times = [(seconds(work, small), seconds(work, large)) for _ in range(rounds)]
        ratio = median(more / less for less, more in times)
        of_small, of_large = map(median, zip(*times, strict=True))
        table.add_row(name, f"{n:,}", f"{of_small:.3f}", f"{of_large:.3f}", f"{ratio:.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    typer.run(main)
