"""Fine-tune the foundation model into a classifier.

    python -m llmill classify last_block

Input: the foundation model and the labelled messages. Output: `checkpoint/`, `curves.csv`,
`scores.json`, `metrics.json`. The variant determines what is trainable: the new head alone, the
head and the last one or two blocks, the head and low-rank adapters, or everything; and whether the
training begins from the foundation's weights. With several seeds, the classifier is the first
seed's model. The other seeds show the variation by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
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

BATCH_SIZE = 64  # for inference; does not change a metric
DIGITS = 6  # decimals of a logit
MIB = 2**20
LORA, FROM_RANDOM = "lora", "all_from_random"  # variants with weights of their own

EncodedMessages = list[tuple[list[int], int]]  # (token ids, class number)


@dataclass(frozen=True)
class Data:
    """The encoded messages."""

    labels: list[str]
    max_length: int  # tokens
    train: EncodedMessages
    validate: EncodedMessages
    test: EncodedMessages
    tests: dict[str, EncodedMessages]  # further tests by name
    weights: Tensor  # (n_class,)
    cut: int  # messages of any split that are longer; only their end is read


@dataclass(frozen=True)
class Inputs:
    """The inputs of the trained part: token ids, or (if `kept`) features from the frozen part.

    An example is (ids or features, class number, number of tokens).
    """

    train: list[Any]
    validate: list[Any]
    test: list[Any]
    tests: dict[str, list[Any]]
    kept: bool

    def collate(self, weights: Tensor) -> Callable[[Sequence[Any]], Batch]:
        """Return the function that collates examples into a batch."""
        return partial(collate_kept if self.kept else collate_ids, weights=weights)


@dataclass(frozen=True)
class Run:
    """What all trainings of a variant share."""

    settings: Classify
    hardware: Runtime
    variant: str
    data: Data
    job: Job


@dataclass(frozen=True)
class Trained:
    """The results of a training: its curve, and the logits of held-out messages, (N, n_class)."""

    curve: list[Row]
    validate: Tensor
    test: Tensor
    tests: dict[str, Tensor]


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    runtime: Runtime
    classify: Classify


def run(params: Parameters, job: Job) -> None:
    """Replace the output layer with a class head and train what the variant leaves trainable, once
    per seed.
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
        # Each seed begins from the foundation's weights.
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
            # The body is unchanged, because only the head has been trained.
            model = classifier(of, seed, model.body)
            part = train(of, model, fewer, training, seed, f"{name}_size_{size}".lstrip("_"))
            parts.setdefault(size, {})[seed] = part
    write(job, data, whole, parts, trainable)


def classifier(of: Run, seed: int, body: Transformer) -> ClassModel:
    """Build the model at the beginning of its training."""
    settings = of.settings
    # Set the seed before the model is built, because this draws the new weights.
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
    """Return the inputs for the training. Features from the frozen part are computed once if the
    run reads every message and they fit into `features_mib`.
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
    with runtime.autocast(of.hardware):  # as in training; evaluation runs in float32
        learnt = frozen(of, model, data.train)
    further = {name: frozen(of, model, rows) for name, rows in data.tests.items()}
    held_out = frozen(of, model, data.validate), frozen(of, model, data.test)
    return Inputs(learnt, *held_out, further, kept=True)


def frozen(of: Run, model: ClassModel, rows: EncodedMessages) -> list[tuple[Tensor, int, int]]:
    """Return the features of each message from the frozen part, its class and number of tokens."""
    progress = of.job.progress("messages read by the frozen layers")
    kept = frozen_outputs(model, [ids for ids, _ in rows], BATCH_SIZE, progress)
    return [(x, label, len(ids)) for x, (ids, label) in zip(kept, rows, strict=True)]


def train(
    of: Run, model: ClassModel, inputs: Inputs, training: Training, seed: int, name: str
) -> Trained:
    """Train the model in place; leave it on the CPU in evaluation mode."""
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
    """Return the training sizes of the learning curve: only for the head alone, which is cheap."""
    n = len(of.data.train)
    return [size for size in of.settings.sizes if model.head_alone and size < n]


def some(examples: list[Any], size: int, seed: int) -> list[Any]:
    """Draw `size` of the examples; a larger size includes those of a smaller one."""
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))
    return [examples[i] for i in order[:size].tolist()]


def encode(settings: Classify, folder: Path, foundation: Checkpoint[AnyModel]) -> Data:
    """Read and encode the messages. The classes are the labels of the training split, sorted.

    Raise `UserError` if `max_length` is above the model's context.
    """
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
    read = [train, validate, test, *encoded.values()]
    rows = [row for split in (*splits.values(), *tests.values()) for row in split]
    full = [row.text for row, (ids, _) in zip(rows, chain(*read), strict=True) if len(ids) == limit]
    cut = sum(len(tokenizer.encode(text)) >= limit for text in full)
    return Data(labels, limit, train, validate, test, encoded, weights, cut)


def batches(settings: Classify, data: Data) -> Examples:
    """Return the training batches in the order of the first seed's run, for any variant."""
    collate = partial(collate_labels, weights=data.weights)
    return Examples(data.train, collate, settings.training.batch_size, settings.seeds[0])


def with_lengths(rows: EncodedMessages) -> list[tuple[list[int], int, int]]:
    """Return messages as examples of token ids."""
    return [(ids, label, len(ids)) for ids, label in rows]


def collate_ids(examples: Sequence[tuple[list[int], int, int]], weights: Tensor) -> Batch:
    """Collate examples of token ids into a batch."""
    return collate_labels([(ids, label) for ids, label, _ in examples], weights)


def class_weights(settings: Classify, labels: list[int], n_class: int) -> Tensor:
    """Return the class weights, (n_class,): all 1, or equal total weight for every class."""
    if settings.class_weights == "none":
        return torch.ones(n_class)
    counts = torch.bincount(torch.tensor(labels), minlength=n_class)
    return len(labels) / (n_class * counts)


def outputs(part: nn.Module, examples: list[Any]) -> Tensor:
    """Return the logits of examples, (N, n_class)."""
    return head_outputs(part, [text for text, _, _ in examples], BATCH_SIZE)


def figures(logits: Tensor, examples: list[Any]) -> Figures:
    """Return mean loss in nats and accuracy from logits (N, n_class), unweighted."""
    targets = torch.tensor([label for _, label, _ in examples])
    return {
        "validation_loss": float(F.cross_entropy(logits, targets)),
        "validation_accuracy": float((logits.argmax(dim=-1) == targets).double().mean()),
    }


def save(of: Run, model: ClassModel, foundation: Checkpoint[AnyModel], begun_from: Path) -> None:
    """Save the classifier, with the hash of the weights it began from, unless they were random."""
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
    """Write curves, logits and metrics. Those of the first seed are the classifier's."""
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
    """Return logits (N, n_class) as rounded lists for JSON."""
    return [[round(x, DIGITS) for x in row] for row in logits.tolist()]
