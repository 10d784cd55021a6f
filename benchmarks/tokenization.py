"""Speed and memory of stage tokenize compared with plain tiktoken, on the twenty Gutenberg novels.

python benchmarks/tokenization.py --data ../shared/data
"""

import functools
import multiprocessing
import os
import random
import resource
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated

import tiktoken
import typer
from rich.console import Console
from rich.table import Table

from llmill.contract.parts import Part, Parts
from llmill.stages.tokenize import encode, in_parallel
from llmill.text.corpus import documents, parquet
from llmill.text.tokenization.tokenizer import END_OF_TEXT, Tokenizer, from_gpt2, train

PASSAGE_WORDS = 400  # as in the presets
SHARDS = 2  # shards per copy of the corpus
VOCAB_SIZE = 4096  # of the BPE that replaces GPT-2's
COPIES = (1, 4, 16)  # copies of the corpus, to see whether memory grows
SEED, PROCESSES = 0, 2
# The ru_maxrss of a spawned child begins at its parent's peak; that of a child of a small fork
# server does not.
CHILDREN = multiprocessing.get_context("forkserver")
PLAIN, ONE, TWO, BATCH = "tiktoken", "llmill", "llmill, 2 processes", "tiktoken, 2 threads"
Run = Callable[[], object]
Seconds = tuple[float, float]  # wall-clock time and CPU time


def read(data: Path) -> list[documents.Document]:
    """Read the novels as the passages that stage prepare makes from them."""
    files = sorted(data.glob("pretrain/gutenberg/*.txt"))
    if not files:
        sys.exit(f"{data}: no pretrain/gutenberg/*.txt; give --data or LLMILL_MIRROR")
    return list(documents.read(files, "gutenberg", "gutenberg", PASSAGE_WORDS))


def vocabulary(data: Path, found: list[documents.Document]) -> tuple[Tokenizer, str]:
    """Load GPT-2's ranks if they lie beside the novels, else train a small BPE on the novels."""
    if (data / "gpt2_bpe" / "vocab.bpe").exists():
        return from_gpt2(data / "gpt2_bpe"), "GPT-2's BPE"
    return train((d.text for d in found), VOCAB_SIZE), f"a BPE of {VOCAB_SIZE} tokens"


def plain(tokenizer: Tokenizer) -> tiktoken.Encoding:
    """Return plain tiktoken with the same ranks."""
    return tiktoken.Encoding(
        "plain",
        pat_str=tokenizer.pattern,
        mergeable_ranks=tokenizer.ranks,
        special_tokens={END_OF_TEXT: tokenizer.end_of_text},
    )


def stage(bpe: Path, text: Path, out: Path, copies: int, processes: int) -> None:
    """Process each shard of `copies` copies of the corpus as the stage does."""
    shutil.rmtree(out, ignore_errors=True)
    work = [
        Part({"shard": shard.name, "copy": copy}, functools.partial(encode, bpe, shard))
        for copy in range(copies)
        for shard in parquet.shards(text)
    ]
    for _ in in_parallel(Parts(out, "of now"), work, processes):
        pass


def peak(bpe: Path, text: Path, out: Path, copies: int) -> float:
    """Return the peak MiB of one process that encodes `copies` copies of the corpus."""
    here, there = CHILDREN.Pipe()
    child = CHILDREN.Process(target=weigh, args=(there, bpe, text, out, copies))
    child.start()
    child.join()
    return here.recv()


def weigh(pipe: Connection, bpe: Path, text: Path, out: Path, copies: int) -> None:
    """Send this process's peak memory in MiB after the work."""
    stage(bpe, text, out, copies, processes=1)
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def take_turns(runs: dict[str, Run], rounds: int) -> dict[str, list[Seconds]]:
    """Return the seconds of every run. Each round has all runs in random order."""
    seconds: dict[str, list[Seconds]] = {name: [] for name in runs}
    order = random.Random(SEED)
    for _ in range(rounds):
        for name in order.sample(sorted(runs), len(runs)):
            before = os.times()
            runs[name]()
            after = os.times()
            cpu = sum(after[:4]) - sum(before[:4])  # of this process and its children
            seconds[name].append((after.elapsed - before.elapsed, cpu))
    return seconds


def table(title: str, megabytes: float, seconds: dict[str, list[Seconds]]) -> Table:
    """Make a table with a row for each way, with the median and quartiles of ratios per round."""
    made = Table("way", "MB/s", "to tiktoken", "to llmill", "MB/CPU s", "to tiktoken", title=title)
    for name, taken in seconds.items():
        cells = []
        for clock, references in enumerate(((PLAIN, ONE), (PLAIN,))):
            cells.append(f"{statistics.median(megabytes / s[clock] for s in taken):.2f}")
            for reference in references:
                pairs = zip(seconds[reference], taken, strict=True)
                low, middle, high = statistics.quantiles(r[clock] / s[clock] for r, s in pairs)
                cells.append(f"{middle:.2f} ({low:.2f}-{high:.2f})")
        made.add_row(name, *cells)
    return made


def main(
    data: Annotated[
        Path, typer.Option(envvar="LLMILL_MIRROR", help="Folder with pretrain/gutenberg.")
    ] = Path("data"),
    rounds: Annotated[int, typer.Option(min=2, help="Timed rounds per way.")] = 9,
    copies: Annotated[int, typer.Option(min=1, help="Copies of the novels to time.")] = 2,
) -> None:
    """Measure time and memory of stage tokenize compared with plain tiktoken."""
    found = read(data)
    texts = [document.text for document in found]
    megabytes = sum(len(text.encode()) for text in texts) * copies / 1e6
    tokenizer, name = vocabulary(data, found)
    encoding = plain(tokenizer)
    with tempfile.TemporaryDirectory() as scratch:
        bpe, text, out = (Path(scratch, part) for part in ("bpe", "text", "out"))
        tokenizer.save(bpe)
        parquet.write(text, found, -(-len(found) // SHARDS))
        memory = {copies: peak(bpe, text, out, copies) for copies in COPIES}

        def one_by_one() -> None:
            for _ in range(copies):
                for document in texts:
                    encoding.encode_ordinary(document)

        runs: dict[str, Run] = {
            PLAIN: one_by_one,
            ONE: lambda: stage(bpe, text, out, copies, processes=1),
            TWO: lambda: stage(bpe, text, out, copies, PROCESSES),
            BATCH: lambda: encoding.encode_ordinary_batch(texts * copies, num_threads=PROCESSES),
        }
        seconds = take_turns(runs, rounds)
    title = f"{megabytes:.1f} MB in {len(texts) * copies:,} documents, {name}, {rounds} rounds"
    Console(width=120).print(table(title, megabytes, seconds))
    sizes = ", ".join(f"{n}x: {mib:.0f} MiB" for n, mib in memory.items())
    print(f"peak memory of one llmill process by size of the corpus: {sizes}")


if __name__ == "__main__":
    typer.run(main)
