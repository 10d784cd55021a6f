"""Encode the documents into token shards, which the training maps into memory.

    python -m llmill tokenize

Input: the documents and the tokenizer. Output: `train/` and `validate/` (see
`llmill.text.tokenization.shards`), and `metrics.json`.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.contract.model_folder import BPE
from llmill.contract.parts import Part, Parts
from llmill.contract.progress import Progress, in_silence
from llmill.contract.values import Section
from llmill.stages.settings.tokenize import Tokenize
from llmill.text.corpus import parquet
from llmill.text.tokenization import shards
from llmill.text.tokenization.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llmill.contract.job import Job

SPLITS = ("train", "validate")
ENTRY = "entry.json"  # a shard's entry for the index


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    tokenize: Tokenize


def run(params: Parameters, job: Job) -> None:
    """Encode the shards in parallel, then write the index."""
    n_vocab = Tokenizer.load(job.folder("tokenizer") / BPE).n_vocab
    work = parts(params, job)
    entries: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for split in SPLITS:
        (job.out / split).mkdir()
    # In the order of the work, so that the index does not depend on which process was faster.
    made = in_parallel(job.parts, work, params.tokenize.processes, job.progress("shards"))
    for part, folder in zip(work, made, strict=True):
        split, entry = part.made_of["split"], record.read_json(folder / ENTRY)
        if entry["tokens"]:  # an empty file cannot be mapped
            entries[split].append(entry)
            take(folder, job.out / split)
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


def parts(params: Parameters, job: Job) -> list[Part]:
    """Return the work that other jobs may do in advance: one part per shard."""
    bpe = job.folder("tokenizer") / BPE
    tokenizer = record.content_hash(bpe)
    return [
        Part(
            {
                "split": split,
                "name": shard.stem,
                "shard": record.content_hash(shard),
                "tokenizer": tokenizer,
            },
            functools.partial(encode, bpe.resolve(), shard),
        )
        for split in SPLITS
        for shard in parquet.shards(job.folder("prepare") / "text" / split)
    ]


def encode(bpe: Path, shard: Path, folder: Path) -> None:
    """Encode one shard into a folder."""
    texts, sources = parquet.texts(shard), parquet.sources(shard)
    entry = shards.write(folder, shard.stem, texts, loaded(bpe), sources)
    record.write_json(folder / ENTRY, entry)


def take(folder: Path, out: Path) -> None:
    """Copy the files of a shard into `out`. Links would let an edit of the result change the part,
    which the next run trusts.
    """
    for file in record.files_under(folder):
        if file.name != ENTRY:
            shutil.copyfile(file, out / file.name)


@functools.cache
def loaded(bpe: Path) -> Tokenizer:
    """Load the tokenizer of an absolute folder, once per process."""
    return Tokenizer.load(bpe)


def in_parallel(
    store: Parts, work: list[Part], processes: int, progress: Progress = in_silence
) -> Iterator[Path]:
    """Yield the parts' folders in the order of the work, for any number of processes.

    This process is one of them. It works from the end while the others start, and takes parts that
    none of them has begun.
    """
    others = min(processes, len(work)) - 1
    if not others:
        for number, each in enumerate(work, 1):
            yield store.made(each)
            progress(number, len(work))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(others, context, initializer=end_with_parent) as pool:
        try:
            elsewhere = [pool.submit(store.made, each) for each in work]
            here, first = {}, 0  # `first`: of the shards that the others have not finished
            for number in reversed(range(len(work))):
                if elsewhere[number].cancel():
                    here[number] = store.made(work[number])
                while first < number and elsewhere[first].done():
                    first += 1
                progress(first + len(here), len(work))
            for number, made in enumerate(elsewhere):
                folder = here[number] if number in here else made.result()
                if number >= first:
                    progress(min(number + 1 + len(here), len(work)), len(work))
                yield folder
        except BrokenProcessPool:
            raise UserError(
                "tokenize: a process ended early, most likely for want of memory; lower "
                "tokenize.processes"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """End this process when its parent ends for any reason; leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "one of the processes that `in_parallel` starts"

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
