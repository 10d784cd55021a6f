"""The checkpoint folder: `config.json` (shape, kind and origin), `model.safetensors`, and the
tokenizer's `bpe/`.

Every later stage reads a model's shape and tokenizer from here, never from `params.yaml`. What a
model is, it says itself, wherever its folder lies.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, Literal, Self, TypeGuard, TypeVar

import torch
from pydantic import Field, ValidationError, model_validator
from safetensors import torch as safetensors

from llmill.contract import elsewhere, record
from llmill.contract.errors import UserError
from llmill.contract.model_folder import BPE, CONFIG, WEIGHTS
from llmill.contract.values import Positive, Section
from llmill.model import vocabulary, weights
from llmill.model.heads import ClassModel, Reads, ScoreModel
from llmill.model.settings import Model
from llmill.model.transformer import Transformer
from llmill.text.tokenizer import Tokenizer

AnyModel = Transformer | ClassModel | ScoreModel
M = TypeVar("M", bound=AnyModel, covariant=True)
Kind = Literal["foundation", "assistant", "classifier", "judge"]

HEADS = {Transformer: "next_token", ClassModel: "class", ScoreModel: "score"}
KINDS: dict[type, Kind] = {
    Transformer: "foundation",
    ClassModel: "classifier",
    ScoreModel: "judge",
}
TIED = {Transformer: "head.weight", ScoreModel: "knows.head.weight"}  # the embedding once more
RESTORE = "`dvc checkout` restores it, or `dvc repro` of its stage makes it anew"


class Config(Section):
    """What `config.json` says."""

    model: Model
    vocab_size: Positive
    head: Literal["next_token", "class", "score"]
    labels: Annotated[list[str], Field(min_length=1)] | None
    max_length: Positive | None
    # Checkpoints of before these were written say none of them.
    kind: Kind | None = None
    template: str | None = None
    made_by: str | None = None
    begun_from: str | None = None
    weights_template: str | None = None
    reads: Reads | None = None  # of a classifier; None as `ClassModel` takes it
    both_ways: bool = False

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

    def build(self) -> AnyModel:
        """A new model of this shape."""
        model = Transformer(self.model, self.vocab_size)
        if self.head == "class":
            assert self.labels is not None, "a classifier has classes"
            return ClassModel(model, len(self.labels), self.reads, self.both_ways)
        return ScoreModel(model) if self.head == "score" else model


@dataclass(frozen=True)
class Checkpoint(Generic[M]):
    """A model in evaluation mode on the CPU, its tokenizer, what it is and where it came from."""

    model: M
    tokenizer: Tokenizer
    labels: list[str] | None = None  # of a classifier
    max_length: int | None = None  # tokens a classifier or a judge reads
    template: str | None = None  # of an assistant: how a chat is put to it, in Jinja
    made_by: str | None = None  # the stage
    begun_from: str | None = None  # sha256 of the weights that its training began from
    weights_template: str | None = None  # of a foundation: the one that came with those weights

    @property
    def kind(self) -> Kind:
        """What it is."""
        return "assistant" if self.template is not None else KINDS[type(self.model)]

    @property
    def chat_template(self) -> str | None:
        """How a chat is put to it, if it was taught so here or before."""
        return self.weights_template if self.template is None else self.template


def save(folder: Path, checkpoint: Checkpoint[AnyModel]) -> None:
    """Write a checkpoint into a new folder."""
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
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _stored(model).items()}
    record.write_json(folder / CONFIG, config)
    record.write_bytes(folder / WEIGHTS, safetensors.save(tensors))
    checkpoint.tokenizer.save(folder / BPE)


def load(folder: Path) -> Checkpoint[AnyModel]:
    """Read a checkpoint; raises `UserError` naming the file, for what is missing, damaged or does
    not fit.
    """
    config = read_config(folder)
    tokenizer = Tokenizer.load(folder / BPE)
    if vocabulary.size(config.model, tokenizer.n_vocab) != config.vocab_size:
        with_mask = "" if config.model.causal else " with its mask token"
        raise UserError(
            f"{folder}: the tokenizer has {tokenizer.n_vocab} tokens, "
            f"the model {config.vocab_size}{with_mask}; {RESTORE}"
        )
    _refuse_other_weights(folder, config)
    model = config.build()
    _fill(model, folder / WEIGHTS)
    return Checkpoint(
        model.eval(),
        tokenizer,
        config.labels,
        config.max_length,
        config.template,
        config.made_by,
        config.begun_from,
        config.weights_template,
    )


def load_language_model(folder: Path) -> Checkpoint[Transformer]:
    """Read a checkpoint of a model that says what the next token is; raises `UserError` for what
    `load` refuses, a classifier, and a masked model.
    """
    loaded = load(folder)
    if not _has_transformer(loaded):
        raise UserError(f"{folder}: no language model; a classifier answers to `classify-text`")
    if not loaded.model.config.causal:
        raise UserError(
            f"{folder}: a masked model (model.causal false) knows no next token; classifiers can "
            "be made from it: `snakemake --cores all accuracy`"
        )
    return loaded


def weights_hash(folder: Path) -> str:
    """sha256 of a checkpoint's weights, by which a model made from them names them."""
    return record.sha256_file(folder / WEIGHTS)


def read_config(folder: Path) -> Config:
    """`config.json`; raises `UserError` for one that does not say a model's shape."""
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
    """The tensors to store: a tied head only once, as the embedding."""
    tensors = model.state_dict()
    if model.config.tied and type(model) in TIED:
        tensors.pop(TIED[type(model)], None)
    return tensors


def _refuse_other_weights(folder: Path, config: Config) -> None:
    """Hold the weights' header against the config, before anything is made of its size."""
    file = folder / WEIGHTS
    try:
        stored = weights.of_file(file)
        stored.refuse_too_large(config.model, config.vocab_size, folder / CONFIG)
        with torch.device("meta"):
            expected = _stored(config.build())
        for name in sorted(expected.keys() | stored.tensors.keys()):
            have = stored.tensors[name].shape if name in stored.tensors else "no such tensor"
            want = tuple(expected[name].shape) if name in expected else "no such tensor"
            if have != want:
                raise UserError(f"{file}: {name}: the file has {have}, the model {want}")
            stored.refuse_other_numbers(name)
    except UserError as error:
        raise UserError(f"{error}; {RESTORE}") from None


def _fill(model: AnyModel, path: Path) -> None:
    tensors = safetensors.load(path.read_bytes())
    for name in sorted(tensors):
        if not tensors[name].isfinite().all():
            raise UserError(f"{path}: {name}: not all numbers are finite; {RESTORE}")
    model.load_state_dict(tensors, strict=not model.config.tied)
