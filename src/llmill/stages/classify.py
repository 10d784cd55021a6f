"""Fine-tune the foundation model into a classifier.

    python -m llmill classify last_block

In: the foundation model and the labelled messages. Out: `checkpoint/`, `curves.csv`,
`metrics.json`. The variant says what is trainable: the new head alone, the last block with it,
low-rank adapters with it, or everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmill.contract import record, runtime
from llmill.contract.errors import UserError
from llmill.contract.hardware import Runtime
from llmill.contract.values import Section
from llmill.model import checkpoint, lora
from llmill.model.checkpoint import AnyModel, Checkpoint
from llmill.model.heads import ClassModel, freeze
from llmill.model.transformer import Transformer
from llmill.stages.settings.classify import Classify
from llmill.tasks import classification
from llmill.training.batches import Examples, collate_labels
from llmill.training.loop import Work, fit, write_curve
from llmill.training.losses import class_loss
from llmill.training.progress import Figures

if TYPE_CHECKING:
    from llmill.contract.job import Job

LORA = "lora"  # the variant that learns an adapter

Labelled = list[tuple[list[int], int]]  # token ids and the number of the class


@dataclass(frozen=True)
class Data:
    """The messages as the model reads them."""

    labels: list[str]
    max_length: int  # tokens
    train: Labelled
    validate: Labelled
    weights: Tensor  # (n_class,)
    cut: int  # messages of both that are longer, of which the end is read


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    runtime: Runtime
    classify: Classify


def run(params: Parameters, job: Job) -> None:
    """Replace the output layer by a class head and train what the variant leaves trainable."""
    assert job.variant is not None, "a matrix stage"
    settings = params.classify
    begun_from = job.folder("pretrain") / "checkpoint"
    foundation = checkpoint.load(begun_from)
    data = encode(settings, job.folder("prepare") / "classification", foundation)
    # Before the model is made: the weights of the new head are drawn.
    runtime.start(settings.seed, settings.threads)
    assert isinstance(foundation.model, Transformer), "pretrain puts no other head on it"
    model = ClassModel(foundation.model, len(data.labels))
    if job.variant == LORA:
        lora.refuse_unknown(settings.adapter, model.config, "params.yaml: classify.adapter")
        lora.add(model, settings.adapter)
    else:
        freeze(model, job.variant)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    job.say(f"{len(data.train)} messages, {trainable:,} trainable parameters")
    if data.cut:
        job.say(f"{data.cut} messages are longer than {data.max_length} tokens: their end is read")

    def validate(model: nn.Module, step: int) -> Figures:
        return validation_figures(model, data.validate)

    train = batches(settings, data)
    loss = class_loss(data.weights.to(runtime.device(params.runtime)))
    work = Work(train, loss, validate, settings.training, params.runtime, settings.seed)
    curve = fit(model, work, job)
    model.cpu().eval()
    adapter = lora.taken(model, settings.adapter if job.variant == LORA else None, begun_from)
    classifier = Checkpoint(
        model,
        foundation.tokenizer,
        data.labels,
        data.max_length,
        made_by=job.stage.address,
        begun_from=checkpoint.weights_hash(begun_from),
        adapter=adapter,
    )
    checkpoint.save(job.out / "checkpoint", classifier)
    write_curve(job.out / "curves.csv", curve)
    metrics = {
        **validation_figures(model, data.validate),
        "trainable_parameters": trainable,
        "steps": curve[-1]["step"],
        "train_messages": len(data.train),
        "validate_messages": len(data.validate),
        "messages_cut": data.cut,
    }
    record.write_json(job.out / "metrics.json", metrics)
    job.track.metrics({f"final_{k}": v for k, v in metrics.items()})


def encode(settings: Classify, folder: Path, foundation: Checkpoint[AnyModel]) -> Data:
    """Read and encode the messages; the classes are those of the training ones, sorted."""
    rows = {name: classification.read(folder / f"{name}.jsonl") for name in ("train", "validate")}
    labels = sorted({row.label for row in rows["train"]})
    length, block = settings.max_length, foundation.model.config.block_size
    if length > block:
        raise UserError(
            f"params.yaml: classify.max_length {length} is above the {block} tokens that the "
            "foundation model reads"
        )
    train, validate = (
        [
            (classification.encode(foundation.tokenizer, row.text, length), labels.index(row.label))
            for row in rows[name]
        ]
        for name in ("train", "validate")
    )
    weights = class_weights(settings, [label for _, label in train], len(labels))
    texts = [row.text for name in ("train", "validate") for row in rows[name]]
    full = [
        text for text, (ids, _) in zip(texts, train + validate, strict=True) if len(ids) == length
    ]
    cut = sum(len(foundation.tokenizer.encode(text)) >= length for text in full)
    return Data(labels, length, train, validate, weights, cut)


def batches(settings: Classify, data: Data) -> Examples:
    """The messages to train on, in the order of the run: the same for every variant."""
    collate = partial(collate_labels, weights=data.weights)
    return Examples(data.train, collate, settings.training.batch_size, settings.seed)


def class_weights(settings: Classify, labels: list[int], n_class: int) -> Tensor:
    """One weight a class: all 1, or such that every class has the same total weight."""
    if settings.class_weights == "none":
        return torch.ones(n_class)
    counts = torch.bincount(torch.tensor(labels), minlength=n_class)
    return len(labels) / (n_class * counts)


@torch.inference_mode()
def validation_figures(model: nn.Module, examples: Labelled) -> Figures:
    """Mean loss and accuracy, every message counting the same."""
    assert isinstance(model, ClassModel), "what this stage trains"
    device = next(model.parameters()).device
    plain = torch.ones(model.head.out_features)
    total, right = 0.0, 0
    for start in range(0, len(examples), 64):
        batch = collate_labels(examples[start : start + 64], plain).to(device)
        logits = model(*batch.inputs)
        total += float(F.cross_entropy(logits, batch.targets, reduction="sum"))
        right += int((logits.argmax(dim=-1) == batch.targets).sum())
    return {
        "validation_loss": total / len(examples),
        "validation_accuracy": right / len(examples),
    }
