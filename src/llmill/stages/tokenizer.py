"""Make the tokenizer: byte-level BPE learnt from the training documents, GPT-2's own, or that of
the weights to begin from.

    python -m llmill tokenizer

In: the training documents; GPT-2's files, or the weights' folder. Out: `bpe/` (ranks and settings),
`metrics.json`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llmill.contract import record
from llmill.contract.model_folder import BPE
from llmill.text import imported, parquet
from llmill.text.tokenizer import from_gpt2, train

if TYPE_CHECKING:
    from llmill.contract.params import Selected
    from llmill.contract.stage import Job

SAMPLE = 1000  # documents that bytes per token is measured on


def run(params: Selected, job: Job) -> None:
    """Learn or import, save, and measure how far the training text is compressed."""
    settings = params.tokenizer
    shards = parquet.shards(Path(params.paths.prepare, "text", "train"))
    if settings.kind == "gpt2":
        tokenizer = from_gpt2(Path(params.paths.download, "tokenizer"))
    elif settings.kind == "init":
        tokenizer = imported.read(Path(params.paths.download, "init"))
    else:
        texts = (text for shard in shards for text in parquet.texts(shard))
        tokenizer = train(texts, settings.vocab_size)
    tokenizer.save(job.out / BPE)
    sample = [text for text, _ in zip(parquet.texts(shards[0]), range(SAMPLE), strict=False)]
    size = sum(len(text.encode()) for text in sample)
    metrics = {
        "n_vocab": tokenizer.n_vocab,
        "bytes_per_token": size / sum(len(tokenizer.encode(text)) for text in sample),
        "longest_token_bytes": max(map(len, tokenizer.ranks)),
    }
    record.write_json(job.out / "metrics.json", metrics)
    job.track.metrics(metrics)
    job.say(f"{tokenizer.n_vocab} tokens, {metrics['bytes_per_token']:.2f} bytes each in the text")
