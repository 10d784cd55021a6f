"""The checkpoint folder: `config.json` (shape, kind and origin), `model.safetensors`, and the
tokenizer's `bpe/`.

Every later stage reads a model's shape and tokenizer from this folder, never from `params.yaml`, so
a folder describes its model wherever it lies. The folder of an adapter holds only the adapter's
weights. It names the folder of its foundation, and loading merges the two.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, Literal, Self, TypeGuard, TypeVar

import torch
from pydantic import Field, ValidationError, model_validator
from safetensors import torch as safetensors

from llmill.contract import elsewhere, record
from llmill.contract.errors import UserError
from llmill.contract.model_folder import BPE, CONFIG, WEIGHTS
from llmill.contract.values import Line, Positive, Section
from llmill.model import lora, vocabulary, weights
from llmill.model.heads import ClassModel, Reads, ScoreModel
from llmill.model.settings import Adapter, Model
from llmill.model.transformer import Transformer, twin
from llmill.text.tokenization.tokenizer import Tokenizer

AnyModel = lora.AnyModel
Shared = dict[Path, Transformer]  # foundations by folder
M = TypeVar("M", bound=AnyModel, covariant=True)
Kind = Literal["foundation", "assistant", "classifier", "judge"]

HEADS = {Transformer: "next_token", ClassModel: "class", ScoreModel: "score"}
KINDS: dict[type, Kind] = {
    Transformer: "foundation",
    ClassModel: "classifier",
    ScoreModel: "judge",
}
TIED = {Transformer: "head.weight", ScoreModel: "knows.head.weight"}  # equal to the embedding
BEGUN_FROM = "begun_from"  # stored in an adapter's weights, so that their hash covers both
RESTORE = "`dvc checkout` restores it, or `dvc repro` of its stage makes it anew"


class Config(Section):
    """The content of `config.json`."""

    model: Model
    vocab_size: Positive
    head: Literal["next_token", "class", "score"]
    labels: Annotated[list[str], Field(min_length=1)] | None
    max_length: Positive | None
    # Checkpoints that are older than these fields lack them.
    kind: Kind | None = None
    template: str | None = None
    made_by: str | None = None
    begun_from: str | None = None
    weights_template: str | None = None
    reads: Reads | None = None  # for a classifier; None: the default of `ClassModel`
    both_ways: bool = False
    # Only for an adapter.
    adapter: Adapter | None = None
    foundation: Line | None = None  # folder of its foundation, relative to its own folder

    @model_validator(mode="after")
    def an_assistant_has_a_template(self) -> Self:
        if (self.kind == "assistant") != (self.template is not None):
            raise ValueError("an assistant, and nothing else, has a template")
        return self

    @model_validator(mode="after")
    def a_classifier_has_classes(self) -> Self:
        if self.head == "class" and None in (self.labels, self.max_length):
            raise ValueError("a classifier needs labels and max_length")
        return self

    @model_validator(mode="after")
    def an_adapter_has_a_foundation(self) -> Self:
        if self.adapter is not None and None in (self.foundation, self.begun_from):
            raise ValueError("an adapter needs foundation and begun_from")
        return self

    def build(self) -> AnyModel:
        """Return a new model of this shape."""
        return self.headed(Transformer(self.model, self.vocab_size))

    def headed(self, body: Transformer) -> AnyModel:
        """Put a new class or score head on a transformer; a next-token model stays as it is."""
        if self.head == "class":
            assert self.labels is not None, "a classifier has classes"
            return ClassModel(body, len(self.labels), self.reads, self.both_ways)
        return ScoreModel(body) if self.head == "score" else body


@dataclass(frozen=True)
class Checkpoint(Generic[M]):
    """A model in evaluation mode on the CPU, with its tokenizer, kind and origin."""

    model: M
    tokenizer: Tokenizer
    labels: list[str] | None = None  # of a classifier
    max_length: int | None = None  # tokens that a classifier or a judge reads
    template: str | None = None  # chat template of an assistant, in Jinja
    made_by: str | None = None  # the stage
    begun_from: str | None = None  # sha256 of the weights that its training began from
    weights_template: str | None = None  # chat template that came with a foundation's weights
    adapter: lora.StoredAdapter | None = None  # the trained tensors, if only these are stored

    @property
    def kind(self) -> Kind:
        """The kind of the model."""
        return "assistant" if self.template is not None else KINDS[type(self.model)]

    @property
    def chat_template(self) -> str | None:
        """The chat template that the model was trained with, here or before; None without one."""
        return self.weights_template if self.template is None else self.template


def save(folder: Path, checkpoint: Checkpoint[AnyModel]) -> None:
    """Write a checkpoint to a new folder."""
    model = checkpoint.model
    body = model if isinstance(model, Transformer) else model.body
    folder.mkdir(parents=True)
    config = {
        "model": model.config.model_dump(mode="json"),
        "vocab_size": body.vocab_size,
        "head": HEADS[type(model)],
        "labels": checkpoint.labels,
        "max_length": checkpoint.max_length,
        "kind": checkpoint.kind,
        "template": checkpoint.template,
        "made_by": checkpoint.made_by,
        "begun_from": checkpoint.begun_from,
    }
    if checkpoint.weights_template is not None:
        config["weights_template"] = checkpoint.weights_template
    if isinstance(model, ClassModel):
        config |= {"reads": model.reads, "both_ways": model.both_ways}
    tensors, metadata, adapter = _stored(model), None, checkpoint.adapter
    if adapter is not None:
        assert checkpoint.begun_from is not None, "an adapter is of one foundation"
        config["adapter"] = adapter.settings.model_dump(mode="json")
        config["foundation"] = Path(os.path.relpath(adapter.foundation, folder)).as_posix()
        tensors, metadata = adapter.tensors, {BEGUN_FROM: checkpoint.begun_from}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    record.write_json(folder / CONFIG, config)
    record.write_bytes(folder / WEIGHTS, safetensors.save(tensors, metadata))
    checkpoint.tokenizer.save(folder / BPE)


def load(folder: Path, shared: Shared | None = None) -> Checkpoint[AnyModel]:
    """Read a checkpoint. Raises `UserError`, which names the file, for one that is missing, damaged
    or does not fit the others.

    An adapter is merged into its foundation, unless `shared` is given. Foundations are then kept in
    `shared`, and all checkpoints that are read with the same `shared` share these weights.
    """
    config = read_config(folder)
    tokenizer = Tokenizer.load(folder / BPE)
    if vocabulary.size(config.model, tokenizer.n_vocab) != config.vocab_size:
        with_mask = "" if config.model.causal else " with its mask token"
        raise UserError(
            f"{folder}: the tokenizer has {tokenizer.n_vocab} tokens, "
            f"the model {config.vocab_size}{with_mask}; {RESTORE}"
        )
    adapter = None
    if config.adapter is None:
        model = _whole(folder, config, shared)
    else:
        model, adapter = _adapted(folder, config, config.adapter, shared)
    return Checkpoint(
        model.eval(),
        tokenizer,
        config.labels,
        config.max_length,
        config.template,
        config.made_by,
        config.begun_from,
        config.weights_template,
        adapter,
    )


def load_language_model(folder: Path, shared: Shared | None = None) -> Checkpoint[Transformer]:
    """Read a checkpoint of a model that predicts the next token. Raises `UserError` for whatever
    `load` refuses, for a classifier, a judge, and a masked model.
    """
    loaded = load(folder, shared)
    if not _has_transformer(loaded):
        what = "`classify-text` with a classifier"
        if loaded.labels is None:
            what = "`arena`, which asks this judge"
        raise UserError(f"{folder}: not a language model; use {what}")
    if not loaded.model.config.causal:
        raise UserError(
            f"{folder}: a masked model (model.causal false) cannot predict the next token; train "
            "classifiers from it: `snakemake --cores all accuracy`"
        )
    return loaded


def weights_hash(folder: Path) -> str:
    """Return the sha256 of a checkpoint's weights file, by which a model that is trained from it
    refers to it. An adapter's file holds the hash of its foundation.
    """
    return record.sha256_file(folder / WEIGHTS)


def read_config(folder: Path) -> Config:
    """Read `config.json`. Raises `UserError` for a file that does not give a model's shape."""
    file = folder / CONFIG
    try:
        return Config.model_validate(elsewhere.read_object(file))
    except UserError as error:
        raise UserError(f"{error}; {RESTORE}") from None
    except ValidationError as error:
        reason = elsewhere.problem(error)
        raise UserError(f"{file}: not a model's shape ({reason}); {RESTORE}") from None


def _has_transformer(loaded: Checkpoint[AnyModel]) -> TypeGuard[Checkpoint[Transformer]]:
    return not isinstance(loaded.model, ClassModel | ScoreModel)


def _stored(model: AnyModel) -> dict[str, torch.Tensor]:
    """Return the tensors to store. A tied head is stored once, as the embedding."""
    tensors = model.state_dict()
    if model.config.tied and type(model) in TIED:
        tensors.pop(TIED[type(model)], None)
    return tensors


def _stored_weights(folder: Path, config: Config) -> weights.Weights:
    """Return the tensors of a folder's file, once its header is known to fit the config: before
    memory of its size is allocated.
    """
    file = folder / WEIGHTS
    try:
        stored = weights.of_file(file)
        if config.adapter is None:  # an adapter has the shape of its foundation, which is loaded
            stored.refuse_too_large(config.model, config.vocab_size, folder / CONFIG)
        expected = _expected(config)
        for name in sorted(expected.keys() | stored.tensors.keys()):
            have = stored.tensors[name].shape if name in stored.tensors else "no such tensor"
            want = tuple(expected[name].shape) if name in expected else "no such tensor"
            if have != want:
                raise UserError(f"{file}: {name}: the file has {have}, the model {want}")
            stored.refuse_other_numbers(name)
    except UserError as error:
        raise UserError(f"{error}; {RESTORE}") from None
    return stored


def _expected(config: Config) -> dict[str, torch.Tensor]:
    """Return the tensors that the weights must hold, on the meta device (without memory)."""
    with weights.without_memory():
        model = config.build()
        if config.adapter is None:
            return _stored(model)
        lora.add(model, config.adapter)
        return dict(lora.trainable(model))


def _copy(stored: weights.Weights, into: Mapping[str, torch.Tensor]) -> None:
    """Copy all stored tensors, a piece at a time: memory holds the model, and the file only in
    pieces.
    """
    try:
        for name in sorted(stored.tensors):
            stored.copy(name, into[name])
    except UserError as error:
        raise UserError(f"{error}; {RESTORE}") from None


def _whole(folder: Path, config: Config, shared: Shared | None) -> AnyModel:
    """Load a model whose folder holds all of its weights."""
    place = folder.resolve()
    if shared is not None and place in shared:
        return shared[place]
    stored = _stored_weights(folder, config)
    model = config.build()
    _copy(stored, model.state_dict())
    if shared is not None and isinstance(model, Transformer):
        shared[place] = model
    return model


def _adapted(
    folder: Path, config: Config, settings: Adapter, shared: Shared | None
) -> tuple[AnyModel, lora.StoredAdapter]:
    """Load a foundation with the adapter of a folder, and return both."""
    place = _foundation_of(folder, config)
    # If the foundation is an adapter itself, it is merged: a layer holds one adapter only.
    apart = shared if read_config(place).adapter is None else None
    body = load(place, apart).model
    if not isinstance(body, Transformer) or (body.config, body.vocab_size) != (
        config.model,
        config.vocab_size,
    ):
        raise UserError(f"{folder}: an adapter of another shape than {place} has; {RESTORE}")
    stored = _stored_weights(folder, config)
    tensors = {name: torch.empty(each.shape) for name, each in stored.tensors.items()}
    _copy(stored, tensors)
    adapter = lora.StoredAdapter(settings, tensors, place)
    model = config.headed(body if apart is None else twin(body))
    lora.restore(model, adapter)
    if apart is None:
        lora.merge(model)
    return model, adapter


def _foundation_of(folder: Path, config: Config) -> Path:
    """Return the folder of an adapter's foundation. Raises `UserError` if another lies there."""
    assert config.foundation is not None, "checked as it was read"
    place = Path(os.path.normpath(folder / config.foundation))
    file, own = place / WEIGHTS, folder / WEIGHTS
    if not file.exists():
        raise UserError(
            f"{folder}: an adapter, and its foundation {place} is not there; bring it along, or "
            "take the merged model that `dvc repro export` writes"
        )
    for each in (own, file):
        elsewhere.refuse_other_than_files(each)
    have, wanted = weights_hash(place), config.begun_from
    # The weights hold the hash, so folders cannot refer to each other in a ring.
    if weights.metadata(own).get(BEGUN_FROM) != wanted:
        raise UserError(f"{own}: not the adapter that {folder / CONFIG} tells of; {RESTORE}")
    if have != wanted:
        raise UserError(
            f"{folder}: an adapter of another foundation: learnt on weights of sha256 "
            f"{elsewhere.quoted(wanted)}, and those in {place} have '{have}'; `dvc repro` of its "
            "stage learns it anew"
        )
    return place
