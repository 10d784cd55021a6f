"""Encode the documents into shards of tokens that training maps into memory.

    python -m llmill tokenize

In: the documents and the tokenizer. Out: `train/` and `validate/` (see `llmill.text.shards`), and
`metrics.json`.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmill.contract import record
from llmill.contract.model_folder import BPE
from llmill.contract.values import Section
from llmill.stages.settings.tokenize import Tokenize
from llmill.text import parquet, shards
from llmill.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llmill.contract.job import Job

SPLITS = ("train", "validate")
Work = tuple[Path, Path, Path]  # the tokenizer's folder, a parquet shard, the folder to write into


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    tokenize: Tokenize


def run(params: Parameters, job: Job) -> None:
    """Each shard on its own, several at a time; the index last."""
    bpe = job.folder("tokenizer") / BPE
    n_vocab = Tokenizer.load(bpe).n_vocab
    work = []
    for split in SPLITS:
        (job.out / split).mkdir()
        split_shards = parquet.shards(job.folder("prepare") / "text" / split)
        work += [(bpe, shard, job.out / split) for shard in split_shards]
    entries: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    # In the order of the work, so that the index does not depend on who was faster.
    for (_, _, folder), entry in zip(
        work, in_parallel(work, params.tokenize.processes), strict=True
    ):
        if entry["tokens"]:  # else nothing can be mapped
            entries[folder.name].append(entry)
    metrics = {}
    for split in SPLITS:
        totals = shards.write_index(job.out / split, n_vocab, entries[split])
        bytes_per_token = totals["text_bytes"] / totals["tokens"]
        metrics[split] = {
            **totals,
            "shards": len(entries[split]),
            "bytes_per_token": bytes_per_token,
        }
        job.say(f"{split}: {totals['tokens']:,} tokens, {totals['documents']:,} documents")
    record.write_json(job.out / "metrics.json", metrics)
    job.track.metrics({f"{split}_tokens": metrics[split]["tokens"] for split in SPLITS})


def encode(work: Work) -> dict[str, Any]:
    """Encode one shard."""
    bpe, shard, folder = work
    texts, sources = parquet.texts(shard), parquet.sources(shard)
    return shards.write(folder, shard.stem, texts, loaded(bpe.resolve()), sources)


@functools.cache
def loaded(bpe: Path) -> Tokenizer:
    """The tokenizer of an absolute folder, once a process."""
    return Tokenizer.load(bpe)


def in_parallel(work: list[Work], processes: int) -> Iterator[dict[str, Any]]:
    """The shards' entries in the order of the work, whatever the number of processes.

    This process is one of them: it works from the end on, already while the others start, and takes
    what none of them has begun.
    """
    others = min(processes, len(work)) - 1
    if not others:
        yield from map(encode, work)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(others, context, initializer=end_with_parent) as pool:
        try:
            elsewhere = [pool.submit(encode, each) for each in work]
            here = {}
            for number in reversed(range(len(work))):
                if elsewhere[number].cancel():
                    here[number] = encode(work[number])
            for number, entry in enumerate(elsewhere):
                yield here[number] if number in here else entry.result()
        finally:
            pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """End this process with the one that started it, however that ends; Ctrl-C is for that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "one of the processes that `in_parallel` starts"

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
