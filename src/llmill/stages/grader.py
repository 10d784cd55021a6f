"""Train the embedded judge: the foundation model with a head that scores a response.

    python -m llmill grader

In: the foundation model, the instructions and the documents. Out: `checkpoint/`, `curves.csv`,
`heldout.json`, `metrics.json`. Taught on responses of known score made from the training splits,
measured on those made from the test instructions and the validation documents. With several seeds
there is a judge of each: the first one's checkpoint holds the others'.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from llmill.contract import record, runtime
from llmill.contract.hardware import Runtime
from llmill.contract.values import Section
from llmill.evaluation.judging.judges import folder_of
from llmill.evaluation.matching.rouge import rouge_l
from llmill.evaluation.statistics.intervals import (
    CONFIDENCE,
    Interval,
    flat,
    mean_over_runs,
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
from llmill.text.corpus import parquet
from llmill.text.tokenization.tokenizer import Tokenizer
from llmill.training.batches import Examples, at_once, collate_labels
from llmill.training.loop import Work, fit, write_curve
from llmill.training.losses import score_loss
from llmill.training.progress import Figures, Row

if TYPE_CHECKING:
    from llmill.contract.job import Job

MEASURED = 64  # answers at once, at most
TEXTS = 2000  # documents that passages are taken from

Scored = list[tuple[list[int], float]]  # token ids and the known score


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    runtime: Runtime
    grader: Grader


@dataclass(frozen=True)
class HeldOut:
    """What every judge is measured on, whatever its seed."""

    rows: list[Graded]  # made from the test instructions
    test: Scored  # the same as the judge reads them
    validate: Scored
    probes: dict[str, Scored]


@dataclass(frozen=True)
class Measured:
    """What a judge says of the held-out responses, of 1, and of the probes, of 100."""

    curve: list[Row]
    learnt: int  # responses
    validation_loss: float
    predicted: list[float]
    probed: dict[str, list[float]]


def run(params: Parameters, job: Job) -> None:
    """Make graded responses, train on them, and measure the judge on held-out ones; all that once a
    seed, but for what is held out.
    """
    settings = params.grader
    begun_from = job.folder("pretrain") / "checkpoint"
    foundation = checkpoint.load_language_model(begun_from)
    held = held_out(settings, job.folder("prepare"), foundation)
    judges: dict[int, Measured] = {}
    for of in trainings(settings):
        # The weights that are trained are the foundation's again.
        loaded = checkpoint.load_language_model(begun_from) if judges else foundation
        made, judges[of.seed] = train(of, params.runtime, loaded, held, job)
        place = job.out / "checkpoint"
        further = of.seed != settings.seed
        checkpoint.save(folder_of(place, of.seed) if further else place, made)
    write(job, held, judges)


def trainings(settings: Grader) -> list[Grader]:
    """The settings of each training: they differ in the seed, which decides what is made of the
    training references, too.
    """
    seeds = range(settings.seed, settings.seed + settings.seeds)
    return [settings.model_copy(update={"seed": seed}) for seed in seeds]


def held_out(settings: Grader, prepared: Path, foundation: Checkpoint[Transformer]) -> HeldOut:
    """Responses to the instructions that no judge learns from, by the first seed."""
    tokenizer, block = foundation.tokenizer, foundation.model.config.block_size
    validate = encode(responses(settings, prepared, "validate"), tokenizer, block)
    rows = responses(settings, prepared, "test")
    # Ranks alone would not show a judge that rates an empty answer like a reference.
    tests = instruction.read(prepared / "instruction" / "test.jsonl")
    probed = {name: encode(made, tokenizer, block) for name, made in probes(tests).items()}
    return HeldOut(rows, encode(rows, tokenizer, block), validate, probed)


def train(
    settings: Grader,
    hardware: Runtime,
    foundation: Checkpoint[Transformer],
    held: HeldOut,
    job: Job,
) -> tuple[Checkpoint[ScoreModel], Measured]:
    """Train one judge from the foundation, in place, and measure it."""
    begun_from = job.folder("pretrain") / "checkpoint"
    learnt = batches(settings, job.folder("prepare"), foundation)
    # Before the model is made: the weights of the new head are drawn.
    runtime.start(settings.seed, settings.threads)
    model = ScoreModel(foundation.model)
    if settings.adapter is not None:
        lora.refuse_unknown(settings.adapter, model.config, "params.yaml: grader.adapter")
        lora.add(model, settings.adapter)
    name = f"seed_{settings.seed}" if settings.seeds > 1 else ""
    job.say(f"{name}{': ' if name else ''}{learnt.n} graded responses")

    def validate(model: nn.Module, step: int) -> Figures:
        guesses = predict(model, held.validate)
        errors = [(p - s) ** 2 for p, (_, s) in zip(guesses, held.validate, strict=True)]
        return {"validation_loss": sum(errors) / max(1, len(errors))}

    work = Work(learnt, score_loss, validate, settings.training, hardware, settings.seed, name=name)
    curve = fit(model, work, job)
    model.cpu().eval()
    made = Checkpoint(
        model,
        foundation.tokenizer,
        max_length=model.config.block_size,
        made_by=job.stage.address,
        begun_from=checkpoint.weights_hash(begun_from),
        adapter=lora.taken(model, settings.adapter, begun_from),
    )
    measured = Measured(
        curve,
        learnt.n,
        validate(model, curve[-1]["step"])["validation_loss"],
        predict(model, held.test),
        {probe: [100 * x for x in predict(model, of)] for probe, of in held.probes.items()},
    )
    return made, measured


def write(job: Job, held: HeldOut, judges: dict[int, Measured]) -> None:
    """What the judges say of the held-out responses, and the figures: means over the seeds, with
    those of each seed beside them. Loss and steps are those of the first judge.
    """
    first, *others = judges.values()
    write_curve(job.out / "curves.csv", first.curve)
    for seed in list(judges)[1:]:
        write_curve(job.out / f"curves-{seed}.csv", judges[seed].curve)
    rows: list[dict[str, Any]] = []
    for number, row in enumerate(held.rows):
        given = {str(seed): 100 * each.predicted[number] for seed, each in judges.items()}
        mean = sum(given.values()) / len(given)
        rows.append({"kind": row.kind, "score": 100 * row.score, "predicted": mean})
        if others:
            rows[-1]["by_seed"] = given
    by_seed = {
        str(seed): {**figures(held.rows, [each]), "validation_loss": each.validation_loss}
        for seed, each in judges.items()
    }
    metrics = {
        **(figures(held.rows, list(judges.values())) if others else next(iter(by_seed.values()))),
        "validation_loss": first.validation_loss,
        "steps": first.curve[-1]["step"],
        "train_responses": first.learnt,
        "heldout_responses": len(rows),
        **({"by_seed": by_seed} if others else {}),
    }
    record.write_json(job.out / "heldout.json", rows)
    job.track.table("heldout", rows)
    record.write_json(job.out / "metrics.json", metrics)
    job.track.metrics(flat(metrics))


def figures(rows: list[Graded], judges: list[Measured]) -> dict[str, Any]:
    """How good a judge is; of several the mean, with intervals over seeds and responses."""
    predicted = [each.predicted for each in judges]
    return {
        "pairs_right": pairs_right([row.score for row in rows], *predicted),
        **paraphrases(rows, predicted),
        "above_another": above([each.probed for each in judges]),
        "gives": {
            name: mean_over_runs([each.probed[name] for each in judges], 100, CONFIDENCE)
            for name in judges[0].probed
        },
    }


def above(probed: list[dict[str, list[float]]]) -> Interval:
    """The share of tasks whose reference gets more than the reference of another of its kind."""
    right = [
        [one > other for one, other in zip(given["reference"], given["another"], strict=True)]
        for given in probed
    ]
    if len(right) == 1:
        return share(sum(right[0]), len(right[0]), CONFIDENCE)
    return mean_over_runs(right, 1, CONFIDENCE)


def paraphrases(rows: list[Graded], predicted: list[list[float]]) -> dict[str, Interval]:
    """In how many pairs of a paraphrase and a wrong answer that looks right the paraphrase gets
    more; beside it, what ROUGE-L with the reference would give. Left out where there are none.
    """
    kinds = {"paraphrase": 1.0, "wrong": 0.0, "another": 0.0}
    chosen = [number for number, row in enumerate(rows) if row.kind in kinds]
    right = [kinds[rows[number].kind] for number in chosen]
    if len(set(right)) < 2:
        return {}
    overlaps = [rouge_l(rows[number].answer, rows[number].entry.output) for number in chosen]
    given = [[run[number] for number in chosen] for run in predicted]
    return {
        "paraphrases_right": pairs_right(right, *given),
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
    size = at_once(MEASURED, max((len(ids) for ids, _ in examples), default=0))
    for start in range(0, len(examples), size):
        batch = collate_labels(examples[start : start + size], None)
        scores = model(*(x.to(device) for x in batch.inputs))  # (B, 1)
        guesses += scores[:, 0].clamp(0, 1).tolist()
    return guesses
