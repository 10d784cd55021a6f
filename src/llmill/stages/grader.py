"""Train the embedded judge: the foundation model with a head that scores a response.

    python -m llmill grader

In: the foundation model, the instructions and the documents. Out: `checkpoint/`, `curves.csv`,
`heldout.json`, `metrics.json`. Taught on responses of known score made from the training splits,
measured on those made from the test instructions and the validation documents.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from llmill.contract import record, runtime
from llmill.contract.hardware import Runtime
from llmill.contract.values import Section
from llmill.evaluation.rouge import rouge_l
from llmill.evaluation.statistics import (
    CONFIDENCE,
    Interval,
    bounded_mean,
    flat,
    pairs_right,
    share,
)
from llmill.model import checkpoint, lora
from llmill.model.checkpoint import Checkpoint
from llmill.model.heads import ScoreModel
from llmill.model.transformer import Transformer
from llmill.stages.settings.grader import Grader
from llmill.tasks import grading, instruction
from llmill.tasks.graded import Graded, graded, probes
from llmill.tasks.instruction import Instruction
from llmill.text import parquet
from llmill.text.tokenizer import Tokenizer
from llmill.training.batches import Examples, collate_labels
from llmill.training.loop import Work, fit, write_curve
from llmill.training.losses import score_loss
from llmill.training.progress import Figures

if TYPE_CHECKING:
    from llmill.contract.job import Job

TEXTS = 2000  # documents that passages are taken from

Scored = list[tuple[list[int], float]]  # token ids and the known score


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    runtime: Runtime
    grader: Grader


def run(params: Parameters, job: Job) -> None:
    """Make graded responses, train on them, and measure the judge on held-out ones."""
    settings = params.grader
    begun_from = job.folder("pretrain") / "checkpoint"
    foundation = checkpoint.load_language_model(begun_from)
    tokenizer, block = foundation.tokenizer, foundation.model.config.block_size
    train = batches(settings, job.folder("prepare"), foundation)
    held_out = encode(responses(settings, job.folder("prepare"), "validate"), tokenizer, block)
    test_responses = responses(settings, job.folder("prepare"), "test")
    test = encode(test_responses, tokenizer, block)
    # Before the model is made: the weights of the new head are drawn.
    runtime.start(settings.seed, settings.threads)
    model = ScoreModel(foundation.model)
    if settings.adapter is not None:
        lora.refuse_unknown(settings.adapter, model.config, "params.yaml: grader.adapter")
        lora.add(model, settings.adapter)
    job.say(f"{train.n} graded responses")

    def validate(model: nn.Module, step: int) -> Figures:
        guesses = predict(model, held_out)
        errors = [(p - s) ** 2 for p, (_, s) in zip(guesses, held_out, strict=True)]
        return {"validation_loss": sum(errors) / max(1, len(errors))}

    work = Work(train, score_loss, validate, settings.training, params.runtime, settings.seed)
    curve = fit(model, work, job)
    model.cpu().eval()
    adapter = lora.taken(model, settings.adapter, begun_from)
    predicted = predict(model, test)
    scores = [row.score for row in test_responses]
    rows = [
        {"kind": row.kind, "score": 100 * row.score, "predicted": 100 * guess}
        for row, guess in zip(test_responses, predicted, strict=True)
    ]
    judge = Checkpoint(
        model,
        tokenizer,
        max_length=block,
        made_by=job.stage.address,
        begun_from=checkpoint.weights_hash(begun_from),
        adapter=adapter,
    )
    checkpoint.save(job.out / "checkpoint", judge)
    write_curve(job.out / "curves.csv", curve)
    record.write_json(job.out / "heldout.json", rows)
    job.track.table("heldout", rows)
    # Ranks alone would not show a judge that rates an empty answer like a reference.
    tests = instruction.read(job.folder("prepare") / "instruction" / "test.jsonl")
    probed = {
        name: [100 * guess for guess in predict(model, encode(made, tokenizer, block))]
        for name, made in probes(tests).items()
    }
    right = pairs_right(scores, predicted)
    metrics = {
        "pairs_right": right,
        **paraphrases(test_responses, predicted),
        "above_another": above(probed["reference"], probed["another"]),
        "gives": {name: bounded_mean(given, 100, CONFIDENCE) for name, given in probed.items()},
        "validation_loss": validate(model, curve[-1]["step"])["validation_loss"],
        "steps": curve[-1]["step"],
        "train_responses": train.n,
        "heldout_responses": len(rows),
    }
    record.write_json(job.out / "metrics.json", metrics)
    job.track.metrics(flat(metrics))


def above(references: list[float], others: list[float]) -> Interval:
    """The share of tasks whose reference gets more than the reference of another of its kind."""
    right = sum(one > other for one, other in zip(references, others, strict=True))
    return share(right, len(references), CONFIDENCE)


def paraphrases(rows: list[Graded], predicted: list[float]) -> dict[str, Interval]:
    """In how many pairs of a paraphrase and a wrong answer that looks right the paraphrase gets
    more; beside it, what ROUGE-L with the reference would give. Left out where there are none.
    """
    kinds = {"paraphrase": 1.0, "wrong": 0.0, "another": 0.0}
    chosen = [number for number, row in enumerate(rows) if row.kind in kinds]
    right = [kinds[rows[number].kind] for number in chosen]
    if len(set(right)) < 2:
        return {}
    overlaps = [rouge_l(rows[number].answer, rows[number].entry.output) for number in chosen]
    return {
        "paraphrases_right": pairs_right(right, [predicted[number] for number in chosen]),
        "paraphrases_rouge_l": pairs_right(right, overlaps),
    }


def responses(settings: Grader, prepared: Path, split: str) -> list[Graded]:
    """Graded responses to the instructions of a split; passages for the test split are taken from
    validation documents.
    """
    texts = some_texts(prepared / "text" / ("train" if split == "train" else "validate"))
    entries = instruction.read(prepared / "instruction" / f"{split}.jsonl")
    return graded(entries, texts, settings.responses, settings.seed)


def batches(settings: Grader, prepared: Path, foundation: Checkpoint[Transformer]) -> Examples:
    """The graded responses to train on, in the order of the run."""
    block = foundation.model.config.block_size
    train = encode(responses(settings, prepared, "train"), foundation.tokenizer, block)
    collate = partial(collate_labels, weights=None)
    return Examples(train, collate, settings.training.batch_size, settings.seed)


def some_texts(folder: Path) -> list[str]:
    """The first documents of a split; `prepare` mixes them, so they are of every source."""
    return list(islice(parquet.texts(parquet.shards(folder)[0]), TEXTS))


def encode(rows: list[Graded], tokenizer: Tokenizer, block: int) -> Scored:
    """Token ids of each response after its prompt, with the known score."""
    return [
        (grading.ids(tokenizer, *_texts(row.entry), row.answer, block), row.score) for row in rows
    ]


def _texts(entry: Instruction) -> tuple[str, str, str]:
    return entry.instruction, entry.input, entry.output


@torch.inference_mode()
def predict(model: nn.Module, examples: Scored) -> list[float]:
    """Scores clamped to [0, 1]."""
    device = next(model.parameters()).device
    guesses: list[float] = []
    for start in range(0, len(examples), 64):
        batch = collate_labels(examples[start : start + 64], None)
        scores = model(*(x.to(device) for x in batch.inputs))  # (B, 1)
        guesses += scores[:, 0].clamp(0, 1).tolist()
    return guesses
