"""Train the embedded judge: the foundation model with a head that scores a response.

    python -m llmill grader

Input: the foundation model, the instructions and the documents. Output: `checkpoint/`,
`curves.csv`, `heldout.json`, `metrics.json`. The judge is trained on responses of known score that
are made from the training splits. It is evaluated on responses that are made from the test
instructions and the validation documents. With several seeds there are several judges. The first
one's checkpoint folder contains the others'.
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
    mean_over_runs,
    numbers_of,
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

MEASURED = 64  # most answers per batch in evaluation
TEXTS = 2000  # most documents that passages are taken from

Scored = list[tuple[list[int], float]]  # (token ids, known score from 0 to 1)


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    runtime: Runtime
    grader: Grader


@dataclass(frozen=True)
class HeldOut:
    """The held-out responses, which are the same for every seed."""

    rows: list[Graded]  # made from the test instructions
    test: Scored  # the same responses, encoded
    validate: Scored
    probes: dict[str, Scored]


@dataclass(frozen=True)
class JudgeScores:
    """A judge's scores of the held-out responses, from 0 to 1, and of the probes, 0 to 100."""

    curve: list[Row]
    learnt: int  # number of training responses
    validation_loss: float
    predicted: list[float]
    probed: dict[str, list[float]]


def run(params: Parameters, job: Job) -> None:
    """Make graded responses, train on them, and evaluate the judge on held-out ones, once per seed.
    All seeds share the held-out responses.
    """
    settings = params.grader
    begun_from = job.folder("pretrain") / "checkpoint"
    foundation = checkpoint.load_language_model(begun_from)
    held = held_out(settings, job.folder("prepare"), foundation)
    judges: dict[int, JudgeScores] = {}
    for of in trainings(settings):
        # Each seed begins from the foundation's weights.
        loaded = checkpoint.load_language_model(begun_from) if judges else foundation
        made, judges[of.seed] = train(of, params.runtime, loaded, held, job)
        place = job.out / "checkpoint"
        further = of.seed != settings.seed
        checkpoint.save(folder_of(place, of.seed) if further else place, made)
    write(job, held, judges)


def trainings(settings: Grader) -> list[Grader]:
    """Return the settings of each training. They differ in the seed, which also determines the
    responses made from the training references.
    """
    seeds = range(settings.seed, settings.seed + settings.seeds)
    return [settings.model_copy(update={"seed": seed}) for seed in seeds]


def held_out(settings: Grader, prepared: Path, foundation: Checkpoint[Transformer]) -> HeldOut:
    """Make the responses to validation and test instructions, with the first seed."""
    tokenizer, block = foundation.tokenizer, foundation.model.config.block_size
    validate = encode(responses(settings, prepared, "validate"), tokenizer, block)
    rows = responses(settings, prepared, "test")
    # Ranks alone would not expose a judge that scores an empty answer like a reference.
    tests = instruction.read(prepared / "instruction" / "test.jsonl")
    probed = {name: encode(made, tokenizer, block) for name, made in probes(tests).items()}
    return HeldOut(rows, encode(rows, tokenizer, block), validate, probed)


def train(
    settings: Grader,
    hardware: Runtime,
    foundation: Checkpoint[Transformer],
    held: HeldOut,
    job: Job,
) -> tuple[Checkpoint[ScoreModel], JudgeScores]:
    """Train one judge from the foundation, in place, and evaluate it."""
    begun_from = job.folder("pretrain") / "checkpoint"
    learnt = batches(settings, job.folder("prepare"), foundation)
    # Set the seed before the model is built, because this draws the new head's weights.
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
    # Merge the adapter as a reader of the checkpoint does, so that the metrics are of that model.
    adapter = lora.taken(model.cpu().eval(), settings.adapter, begun_from)
    model.to(runtime.device(hardware))
    measured = JudgeScores(
        curve,
        learnt.n,
        validate(model, curve[-1]["step"])["validation_loss"],
        predict(model, held.test),
        {probe: [100 * x for x in predict(model, of)] for probe, of in held.probes.items()},
    )
    made = Checkpoint(
        model.cpu(),
        foundation.tokenizer,
        max_length=model.config.block_size,
        made_by=job.stage.address,
        begun_from=checkpoint.weights_hash(begun_from),
        adapter=adapter,
    )
    return made, measured


def write(job: Job, held: HeldOut, judges: dict[int, JudgeScores]) -> None:
    """Write the judges' scores of the held-out responses, and the metrics: means over seeds, and
    those of each seed. Loss and steps are the first judge's.
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
    job.track.metrics(numbers_of(metrics))


def figures(rows: list[Graded], judges: list[JudgeScores]) -> dict[str, Any]:
    """Return the metrics of a judge; for several, means with intervals over seeds and responses.
    The responses to one instruction are a cluster.
    """
    predicted = [each.predicted for each in judges]
    tasks = [row.entry.task for row in rows]
    return {
        "pairs_right": pairs_right([row.score for row in rows], *predicted, clusters=tasks),
        **paraphrases(rows, predicted),
        "above_another": above([each.probed for each in judges]),
        "gives": {
            name: mean_over_runs([each.probed[name] for each in judges], 100, CONFIDENCE)
            for name in judges[0].probed
        },
    }


def above(probed: list[dict[str, list[float]]]) -> Interval:
    """Return the share of tasks whose own reference scores above another one of the same kind."""
    right = [
        [one > other for one, other in zip(given["reference"], given["another"], strict=True)]
        for given in probed
    ]
    if len(right) == 1:
        return share(sum(right[0]), len(right[0]), CONFIDENCE)
    return mean_over_runs(right, 1, CONFIDENCE)


def paraphrases(rows: list[Graded], predicted: list[list[float]]) -> dict[str, Interval]:
    """Return the share of pairs of a paraphrase and a plausible wrong answer in which the
    paraphrase scores higher, and the same share for ROUGE-L with the reference. The responses to
    one instruction are a cluster. Return an empty dict if there are no such pairs.
    """
    kinds = {"paraphrase": 1.0, "wrong": 0.0, "another": 0.0}
    chosen = [number for number, row in enumerate(rows) if row.kind in kinds]
    right = [kinds[rows[number].kind] for number in chosen]
    if len(set(right)) < 2:
        return {}
    overlaps = [rouge_l(rows[number].answer, rows[number].entry.output) for number in chosen]
    given = [[run[number] for number in chosen] for run in predicted]
    tasks = [rows[number].entry.task for number in chosen]
    return {
        "paraphrases_right": pairs_right(right, *given, clusters=tasks),
        "paraphrases_rouge_l": pairs_right(right, overlaps, clusters=tasks),
    }


def responses(settings: Grader, prepared: Path, split: str) -> list[Graded]:
    """Make graded responses to the instructions of a split. Passages come from the training
    documents for the training split, otherwise from the validation documents.
    """
    texts = some_texts(prepared / "text" / ("train" if split == "train" else "validate"))
    entries = instruction.read(prepared / "instruction" / f"{split}.jsonl")
    return graded(entries, texts, settings.responses, settings.seed)


def batches(settings: Grader, prepared: Path, foundation: Checkpoint[Transformer]) -> Examples:
    """Return the batches of graded responses to train on, in the order of the run."""
    block = foundation.model.config.block_size
    train = encode(responses(settings, prepared, "train"), foundation.tokenizer, block)
    collate = partial(collate_labels, weights=None)
    return Examples(train, collate, settings.training.batch_size, settings.seed)


def some_texts(folder: Path) -> list[str]:
    """Return the first documents of a split. `prepare` mixes them, so every source occurs."""
    return list(islice(parquet.texts(parquet.shards(folder)[0]), TEXTS))


def encode(rows: list[Graded], tokenizer: Tokenizer, block: int) -> Scored:
    """Return the token ids of each response after its prompt, with the known score."""
    return [
        (grading.ids(tokenizer, *_texts(row.entry), row.answer, block), row.score) for row in rows
    ]


def _texts(entry: Instruction) -> tuple[str, str, str]:
    return entry.instruction, entry.input, entry.output


@torch.inference_mode()
def predict(model: nn.Module, examples: Scored) -> list[float]:
    """Return the predicted scores, clamped to [0, 1]."""
    device = next(model.parameters()).device
    guesses: list[float] = []
    size = at_once(MEASURED, max((len(ids) for ids, _ in examples), default=0))
    for start in range(0, len(examples), size):
        batch = collate_labels(examples[start : start + size], None)
        scores = model(*(x.to(device) for x in batch.inputs))  # (B, 1)
        guesses += scores[:, 0].clamp(0, 1).tolist()
    return guesses
