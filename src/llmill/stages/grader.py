"""Train the embedded judge: the foundation model with a head that scores a response.

    python -m llmill grader

In: the foundation model, the instructions and the documents. Out: `checkpoint/`, `curves.csv`,
`heldout.json`, `metrics.json`. Taught on responses of known score made from the training splits,
measured on those made from the test instructions and the validation documents.
"""

from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from llmill.contract import record, runtime
from llmill.contract.params import Selected
from llmill.contract.stage import Job
from llmill.evaluation.statistics import pairs_right, spearman
from llmill.model import checkpoint
from llmill.model.heads import ScoreModel
from llmill.tasks import grading, instruction
from llmill.tasks.graded import Graded, graded
from llmill.text import parquet
from llmill.text.tokenizer import Tokenizer
from llmill.training.batches import Examples, collate_labels
from llmill.training.loop import Work, fit, write_curve
from llmill.training.losses import score_loss

TEXTS = 2000  # documents that passages are taken from

Scored = list[tuple[list[int], float]]  # token ids and the known score


def run(params: Selected, job: Job) -> None:
    """Make graded responses, train on them, and measure the judge on held-out ones."""
    settings = params.grader
    foundation = checkpoint.load(Path(params.paths.pretrain, "checkpoint"))
    tokenizer, block = foundation.tokenizer, foundation.model.config.block_size
    prepared = Path(params.paths.prepare)
    texts = {split: some_texts(prepared / "text" / split) for split in ("train", "validate")}
    made = {
        split: graded(
            instruction.read(prepared / "instruction" / f"{split}.jsonl"),
            texts["train" if split == "train" else "validate"],
            settings.responses,
            settings.seed,
        )
        for split in ("train", "validate", "test")
    }
    scored = {split: encode(rows, tokenizer, block) for split, rows in made.items()}
    runtime.start(settings.seed, settings.threads)
    model = ScoreModel(foundation.model)
    job.say(f"{len(made['train'])} graded responses")
    collate = partial(collate_labels, weights=None)
    batches = Examples(scored["train"], collate, settings.seed)

    def validate(model: nn.Module, step: int) -> dict[str, float]:
        errors = [
            (p - s) ** 2
            for p, (_, s) in zip(
                predict(model, scored["validate"]), scored["validate"], strict=True
            )
        ]
        return {"validation_loss": sum(errors) / max(1, len(errors))}

    work = Work(batches, score_loss, validate, settings.training, params.runtime, settings.seed)
    curve = fit(model, work, job)
    model.cpu().eval()
    predicted = predict(model, scored["test"])
    known = [row.score for row in made["test"]]
    rows = [
        {"kind": row.kind, "score": 100 * row.score, "predicted": 100 * guess}
        for row, guess in zip(made["test"], predicted, strict=True)
    ]
    checkpoint.save(
        job.out / "checkpoint",
        checkpoint.Checkpoint(model, tokenizer, labels=None, max_length=block),
    )
    write_curve(job.out / "curves.csv", curve)
    record.write_json(job.out / "heldout.json", rows)
    job.track.table("heldout", rows)
    metrics = {
        "spearman": spearman(known, predicted, seed=settings.seed),
        "pairs_right": pairs_right(known, predicted),
        "validation_loss": validate(model, curve[-1]["step"])["validation_loss"],
        "steps": curve[-1]["step"],
        "train_responses": len(made["train"]),
        "heldout_responses": len(rows),
    }
    record.write_json(job.out / "metrics.json", metrics)
    job.track.metrics(
        {"spearman": metrics["spearman"]["value"], "pairs_right": metrics["pairs_right"]["value"]}
    )


def some_texts(folder: Path) -> list[str]:
    """The first documents of a split; `prepare` mixes them, so they are of every source."""
    return list(islice(parquet.texts(parquet.shards(folder)[0]), TEXTS))


def encode(rows: list[Graded], tokenizer: Tokenizer, block: int) -> Scored:
    """Token ids of each response after its prompt, with the known score."""
    return [
        (grading.ids(tokenizer, r.entry.instruction, r.entry.input, r.answer, block), r.score)
        for r in rows
    ]


@torch.inference_mode()
def predict(model: nn.Module, examples: Scored) -> list[float]:
    """Scores clamped to [0, 1]."""
    device = next(model.parameters()).device
    found: list[float] = []
    for start in range(0, len(examples), 64):
        batch = collate_labels(examples[start : start + 64], None)
        scores = model(*(x.to(device) for x in batch.inputs))  # (B, 1)
        found += scores[:, 0].clamp(0, 1).tolist()
    return found
