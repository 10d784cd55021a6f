"""Make the tokenizer: byte-level BPE trained on the training documents, GPT-2's own, or that of the
initial weights.

    python -m llmill tokenizer

Input: the training documents; GPT-2's files, or the weights' folder. Output: `bpe/` (ranks and
settings), `metrics.json`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmill.contract import record
from llmill.contract.model_folder import BPE
from llmill.contract.values import Section
from llmill.stages.settings.tokenizer import TokenizerSection
from llmill.text.corpus import parquet
from llmill.text.tokenization import model_tokenizer
from llmill.text.tokenization.tokenizer import from_gpt2, train

if TYPE_CHECKING:
    from llmill.contract.job import Job

SAMPLE = 1000  # documents on which bytes per token is measured


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    tokenizer: TokenizerSection


def run(params: Parameters, job: Job) -> None:
    """Train or import the tokenizer, save it, and measure bytes per token of the training text."""
    settings = params.tokenizer
    shards = parquet.shards(job.folder("prepare") / "text" / "train")
    if settings.kind == "gpt2":
        tokenizer = from_gpt2(job.folder("download") / "tokenizer")
    elif settings.kind == "init":
        tokenizer = model_tokenizer.read(job.folder("download") / "init")
    else:
        texts = (text for shard in shards for text in parquet.texts(shard))
        assert settings.vocab_size is not None, "the parameters agree: bpe has one"
        tokenizer = train(texts, settings.vocab_size)
    tokenizer.save(job.out / BPE)
    # Only some documents: the next stage encodes all of them, which takes long.
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
