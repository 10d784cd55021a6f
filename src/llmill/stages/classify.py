"""Fine-tune the foundation model into a classifier.

    python -m llmill classify last_block

In: the foundation model and the labelled messages. Out: `checkpoint/`, `curves.csv`,
`scores.json`, `metrics.json`. The variant says what is trainable: the new head alone, the last
block or two with it, low-rank adapters with it, or everything; and whether it begins from the
foundation's weights. With several seeds the first one's model is the classifier, and the others
say how far chance goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmill.contract import record, runtime
from llmill.contract.errors import UserError
from llmill.contract.hardware import Runtime
from llmill.contract.values import Section
from llmill.evaluation.inference.scoring import frozen_outputs, head_outputs
from llmill.model import checkpoint, lora
from llmill.model.checkpoint import AnyModel, Checkpoint
from llmill.model.heads import ClassModel, Upper, freeze
from llmill.model.transformer import Transformer
from llmill.stages.settings.classify import Classify
from llmill.tasks import classification
from llmill.training.batches import Batch, Examples, collate_kept, collate_labels
from llmill.training.loop import Work, fit, length, write_curve
from llmill.training.losses import class_loss
from llmill.training.progress import Figures, Row
from llmill.training.settings import Training

if TYPE_CHECKING:
    from llmill.contract.job import Job

BATCH_SIZE = 64  # of what is not learnt from; of no influence on a figure
DIGITS = 6  # of a logit, behind the point
MIB = 2**20
LORA, FROM_RANDOM = "lora", "all_from_random"  # variants with weights of their own

Labelled = list[tuple[list[int], int]]  # token ids and the number of the class
Collate = Callable[[Sequence[Any]], Batch]


@dataclass(frozen=True)
class Data:
    """The messages as the model reads them."""

    labels: list[str]
    max_length: int  # tokens
    train: Labelled
    validate: Labelled
    test: Labelled
    tests: dict[str, Labelled]  # further ones
    weights: Tensor  # (n_class,)
    cut: int  # messages to train and validate on that are longer, of which the end is read


@dataclass(frozen=True)
class Inputs:
    """The messages as what is trained reads them: token ids, or what the frozen part made of them.
    An example is the text, its class, and how many tokens it has.
    """

    train: list[Any]
    validate: list[Any]
    test: list[Any]
    tests: dict[str, list[Any]]
    kept: bool

    def collate(self, weights: Tensor) -> Collate:
        """What makes a batch of examples."""
        return partial(collate_kept if self.kept else collate_ids, weights=weights)


@dataclass(frozen=True)
class Run:
    """What the trainings of a variant have in common."""

    settings: Classify
    hardware: Runtime
    variant: str
    data: Data
    job: Job


@dataclass(frozen=True)
class Trained:
    """What a training left: the curve, and the logits, (N, n_class), of what it did not see."""

    curve: list[Row]
    validate: Tensor
    test: Tensor
    tests: dict[str, Tensor]


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    runtime: Runtime
    classify: Classify


def run(params: Parameters, job: Job) -> None:
    """Replace the output layer by a class head and train what the variant leaves trainable, once a
    seed.
    """
    assert job.variant is not None, "a matrix stage"
    settings = params.classify
    begun_from = job.folder("pretrain") / "checkpoint"
    foundation = checkpoint.load(begun_from)
    data = encode(settings, job.folder("prepare") / "classification", foundation)
    if data.cut:
        job.say(f"{data.cut} messages are longer than {data.max_length} tokens: their end is read")
    of = Run(settings, params.runtime, job.variant, data, job)
    inputs: Inputs | None = None
    whole: dict[int, Trained] = {}
    parts: dict[int, dict[int, Trained]] = {}
    for seed in settings.seeds:
        # The weights that are trained are the foundation's again, and the frozen ones always.
        loaded = checkpoint.load(begun_from) if whole else foundation
        assert isinstance(loaded.model, Transformer), "pretrain puts no other head on it"
        model = classifier(of, seed, loaded.model)
        if inputs is None:
            trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
            job.say(f"{len(data.train)} messages, {trainable:,} trainable parameters")
            inputs = read(of, model)
        name = f"seed_{seed}" if len(settings.seeds) > 1 else ""
        whole[seed] = train(of, model, inputs, settings.training, seed, name)
        if seed == settings.seeds[0]:
            save(of, model, foundation, begun_from)
        for size in sizes(of, model):
            fewer = replace(inputs, train=some(inputs.train, size, seed))
            steps = length(settings.training, len(data.train))
            training = settings.training.model_copy(update={"max_steps": steps, "epochs": None})
            # The body is as it was: nothing but a head has been trained.
            model = classifier(of, seed, model.body)
            part = train(of, model, fewer, training, seed, f"{name}_size_{size}".lstrip("_"))
            parts.setdefault(size, {})[seed] = part
    write(job, data, whole, parts, trainable)


def classifier(of: Run, seed: int, body: Transformer) -> ClassModel:
    """The model as its training begins."""
    settings = of.settings
    # Before the model is made: the weights of the new head, or of all, are drawn.
    runtime.start(seed, settings.threads)
    if of.variant == FROM_RANDOM:
        body = Transformer(body.config, body.vocab_size)
    reads = None if settings.reads == "auto" else settings.reads
    if reads == "first" and settings.causal and body.config.causal:
        of.job.say(
            "warning: classify.reads first: the first token sees no other, so every message reads "
            "the same; set classify.causal to false, or read the last"
        )
    model = ClassModel(body, len(of.data.labels), reads, both_ways=not settings.causal)
    if of.variant == LORA:
        lora.refuse_unknown(settings.adapter, model.config, "params.yaml: classify.adapter")
        lora.add(model, settings.adapter)
    else:
        freeze(model, of.variant)
    return model


def read(of: Run, model: ClassModel) -> Inputs:
    """The messages as they are trained on: what the frozen part makes of them is computed once,
    where that takes no more memory than it may.
    """
    data, settings = of.data, of.settings
    splits = (data.train, data.validate, data.test, *data.tests.values())
    train, validate, test, *tests = map(with_lengths, splits)
    ids = Inputs(train, validate, test, dict(zip(data.tests, tests, strict=True)), kept=False)
    rows = length(settings.training, len(data.train)) * settings.training.batch_size
    if not model.frozen or rows * settings.training.grad_accum_steps < len(data.train):
        return ids
    tokens = sum(1 if model.head_alone else len(row) for split in splits for row, _ in split)
    mib = tokens * model.config.n_embd * 4 / MIB
    what = f"the frozen layers' features take {mib:,.1f} MiB"
    if mib > settings.features_mib:
        limit = f"more than classify.features_mib ({settings.features_mib})"
        of.job.say(f"{what}, {limit}: computed again at every step")
        return ids
    of.job.say(f"{what}: computed once")
    model.to(runtime.device(of.hardware)).eval()
    with runtime.autocast(of.hardware):  # as in training; what is measured is in float32
        learnt = frozen(model, data.train)
    further = {name: frozen(model, rows) for name, rows in data.tests.items()}
    return Inputs(
        learnt, frozen(model, data.validate), frozen(model, data.test), further, kept=True
    )


def frozen(model: ClassModel, rows: Labelled) -> list[tuple[Tensor, int, int]]:
    """What the frozen part makes of each message, its class and its tokens."""
    kept = frozen_outputs(model, [ids for ids, _ in rows], BATCH_SIZE)
    return [(x, label, len(ids)) for x, (ids, label) in zip(kept, rows, strict=True)]


def train(
    of: Run, model: ClassModel, inputs: Inputs, training: Training, seed: int, name: str
) -> Trained:
    """One training, in place; the model is left on the CPU, in evaluation mode."""
    part: nn.Module = Upper(model) if inputs.kept else model

    def validate(part: nn.Module, step: int) -> Figures:
        return figures(outputs(part, inputs.validate), inputs.validate)

    weights, size = of.data.weights, training.batch_size
    batches = Examples(inputs.train, inputs.collate(weights), size, seed, lambda x: x[2])
    loss = class_loss(weights.to(runtime.device(of.hardware)))
    work = Work(batches, loss, validate, training, of.hardware, seed, name=name)
    curve = fit(part, work, of.job)
    part.eval()
    further = {name: outputs(part, rows) for name, rows in inputs.tests.items()}
    trained = Trained(curve, outputs(part, inputs.validate), outputs(part, inputs.test), further)
    model.cpu().eval()
    return trained


def sizes(of: Run, model: ClassModel) -> list[int]:
    """The sizes of a learning curve: of the head alone, whose trainings cost next to nothing."""
    n = len(of.data.train)
    return [size for size in of.settings.sizes if model.head_alone and size < n]


def some(examples: list[Any], size: int, seed: int) -> list[Any]:
    """So many of the examples, drawn; of a larger size these and more."""
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))
    return [examples[i] for i in order[:size].tolist()]


def encode(settings: Classify, folder: Path, foundation: Checkpoint[AnyModel]) -> Data:
    """Read and encode the messages; the classes are those of the training ones, sorted."""
    splits = classification.read_splits(folder)
    labels = sorted({row.label for row in splits["train"]})
    limit, block = settings.max_length, foundation.model.config.block_size
    if limit > block:
        raise UserError(
            f"params.yaml: classify.max_length {limit} is above the {block} tokens that the "
            "foundation model reads"
        )
    tokenizer = foundation.tokenizer
    tests = classification.read_tests(folder, labels)
    encoded = {
        name: [
            (classification.encode(tokenizer, row.text, limit), labels.index(row.label))
            for row in rows
        ]
        for name, rows in [*splits.items(), *tests.items()]
    }
    train, validate, test = (encoded.pop(name) for name in classification.PARTS)
    weights = class_weights(settings, [label for _, label in train], len(labels))
    texts = [row.text for name in ("train", "validate") for row in splits[name]]
    full = [
        text for text, (ids, _) in zip(texts, train + validate, strict=True) if len(ids) == limit
    ]
    cut = sum(len(tokenizer.encode(text)) >= limit for text in full)
    return Data(labels, limit, train, validate, test, encoded, weights, cut)


def batches(settings: Classify, data: Data) -> Examples:
    """The messages to train on, in the order of the first seed's run, whatever the variant."""
    collate = partial(collate_labels, weights=data.weights)
    return Examples(data.train, collate, settings.training.batch_size, settings.seeds[0])


def with_lengths(rows: Labelled) -> list[tuple[list[int], int, int]]:
    """Messages by their token ids, as examples."""
    return [(ids, label, len(ids)) for ids, label in rows]


def collate_ids(examples: Sequence[tuple[list[int], int, int]], weights: Tensor) -> Batch:
    """A batch of messages by their token ids."""
    return collate_labels([(ids, label) for ids, label, _ in examples], weights)


def class_weights(settings: Classify, labels: list[int], n_class: int) -> Tensor:
    """One weight a class: all 1, or such that every class has the same total weight."""
    if settings.class_weights == "none":
        return torch.ones(n_class)
    counts = torch.bincount(torch.tensor(labels), minlength=n_class)
    return len(labels) / (n_class * counts)


def outputs(part: nn.Module, examples: list[Any]) -> Tensor:
    """The logits of examples, (N, n_class)."""
    return head_outputs(part, [text for text, _, _ in examples], BATCH_SIZE)


def figures(logits: Tensor, examples: list[Any]) -> Figures:
    """Mean loss and accuracy, every message counting the same."""
    targets = torch.tensor([label for _, label, _ in examples])
    return {
        "validation_loss": float(F.cross_entropy(logits, targets)),
        "validation_accuracy": float((logits.argmax(dim=-1) == targets).double().mean()),
    }


def save(of: Run, model: ClassModel, foundation: Checkpoint[AnyModel], begun_from: Path) -> None:
    """The classifier, which says what its weights were made from, unless they began at random."""
    adapter = of.settings.adapter if of.variant == LORA else None
    made = Checkpoint(
        model,
        foundation.tokenizer,
        of.data.labels,
        of.data.max_length,
        made_by=of.job.stage.address,
        begun_from=None if of.variant == FROM_RANDOM else checkpoint.weights_hash(begun_from),
        adapter=lora.taken(model, adapter, begun_from),
    )
    checkpoint.save(of.job.out / "checkpoint", made)


def write(
    job: Job,
    data: Data,
    whole: dict[int, Trained],
    parts: dict[int, dict[int, Trained]],
    trainable: int,
) -> None:
    """Curves, logits and figures; those of the first seed are the classifier's."""
    first, *others = whole
    write_curve(job.out / "curves.csv", whole[first].curve)
    for seed in others:
        write_curve(job.out / f"curves-{seed}.csv", whole[seed].curve)
    examples = with_lengths(data.validate)
    measured = {str(seed): figures(each.validate, examples) for seed, each in whole.items()}
    scores = {
        "labels": data.labels,
        "trainable_parameters": trainable,
        "seeds": {
            str(seed): {
                "validate": rounded(each.validate),
                "test": rounded(each.test),
                "tests": {name: rounded(logits) for name, logits in each.tests.items()},
            }
            for seed, each in whole.items()
        },
        "sizes": {
            str(size): {str(seed): rounded(each.test) for seed, each in by_seed.items()}
            for size, by_seed in parts.items()
        },
    }
    record.write_json(job.out / "scores.json", scores)
    metrics = {
        **measured[str(first)],
        "trainable_parameters": trainable,
        "steps": whole[first].curve[-1]["step"],
        "train_messages": len(data.train),
        "validate_messages": len(data.validate),
        "messages_cut": data.cut,
        **({"seeds": measured} if others else {}),
    }
    record.write_json(job.out / "metrics.json", metrics)
    job.track.metrics({f"final_{k}": v for k, v in metrics.items() if k != "seeds"})


def rounded(logits: Tensor) -> list[list[float]]:
    """Logits as JSON values."""
    return [[round(x, DIGITS) for x in row] for row in logits.tolist()]
