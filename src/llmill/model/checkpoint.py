"""The checkpoint folder: `config.json` (shape and kind), `model.safetensors`, and the tokenizer's
`bpe/`.

Every later stage reads a model's shape and tokenizer from here, never from `params.yaml`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.contract.model_folder import BPE, CONFIG, WEIGHTS
from llmill.contract.schema import Model
from llmill.model import vocabulary
from llmill.model.heads import ClassModel, ScoreModel
from llmill.model.transformer import Transformer
from llmill.text.tokenizer import Tokenizer

HEADS = {Transformer: "next_token", ClassModel: "class", ScoreModel: "score"}
TIED = {Transformer: "head.weight", ScoreModel: "knows.head.weight"}  # the embedding once more
RESTORE = "`dvc checkout` restores it, or `dvc repro` of its stage makes it anew"


@dataclass(frozen=True)
class Checkpoint:
    """A model in evaluation mode on the CPU, its tokenizer, and for a classifier its labels."""

    model: Transformer | ClassModel | ScoreModel
    tokenizer: Tokenizer
    labels: list[str] | None = None  # of a classifier
    max_length: int | None = None  # tokens a classifier or scorer reads


def save(folder: Path, checkpoint: Checkpoint) -> None:
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
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _stored(model).items()}
    record.write_json(folder / CONFIG, config)
    record.write_bytes(folder / WEIGHTS, safetensors.save(tensors))
    checkpoint.tokenizer.save(folder / BPE)


def load(folder: Path) -> Checkpoint:
    """Read a checkpoint; raises `UserError` naming the file, for what is missing, damaged or does
    not fit.
    """
    config, shape = read_config(folder)
    tokenizer = Tokenizer.load(folder / BPE)
    model: Transformer | ClassModel | ScoreModel = Transformer(shape, config["vocab_size"])
    if vocabulary.size(shape, tokenizer.n_vocab) != config["vocab_size"]:
        with_mask = "" if shape.causal else " with its mask token"
        raise UserError(
            f"{folder}: the tokenizer has {tokenizer.n_vocab} tokens, "
            f"the model {config['vocab_size']}{with_mask}; {RESTORE}"
        )
    if config.get("head") == "class":
        model = ClassModel(model, len(config["labels"]))
    elif config.get("head") == "score":
        model = ScoreModel(model)
    _fill(model, folder / WEIGHTS)
    return Checkpoint(model.eval(), tokenizer, config["labels"], config["max_length"])


def load_language_model(folder: Path) -> Checkpoint:
    """Read a checkpoint of a model that says what the next token is; raises `UserError` for what
    `load` refuses, a classifier, and a masked model.
    """
    loaded = load(folder)
    if isinstance(loaded.model, ClassModel | ScoreModel):
        raise UserError(f"{folder}: no language model; a classifier answers to `classify-text`")
    if not loaded.model.config.causal:
        raise UserError(
            f"{folder}: a masked model (model.causal false) knows no next token; classifiers can "
            "be made from it: `snakemake --cores all accuracy`"
        )
    return loaded


def read_config(folder: Path) -> tuple[dict[str, Any], Model]:
    """`config.json`, and the shape in it."""
    config = record.read_json(folder / CONFIG)
    try:
        vocab_size = int(config["vocab_size"])
        if vocab_size < 1:
            raise ValueError(f"vocab_size {vocab_size}")
        return config | {"vocab_size": vocab_size}, Model(**config["model"])
    except (KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{folder / CONFIG}: not a model's shape ({reason}); {RESTORE}") from None


def _stored(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tensors to store: a tied head only once, as the embedding."""
    tensors = model.state_dict()
    if model.config.tied:
        tensors.pop(TIED.get(type(model)), None)
    return tensors


def _fill(model: torch.nn.Module, path: Path) -> None:
    try:
        tensors = safetensors.load(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: missing; {RESTORE}") from None
    except SafetensorError as error:
        raise UserError(f"{path}: cut short or damaged ({error}); {RESTORE}") from None
    wanted = _stored(model)
    for name in sorted(wanted.keys() | tensors.keys()):
        have = tuple(tensors[name].shape) if name in tensors else "no such tensor"
        want = tuple(wanted[name].shape) if name in wanted else "no such tensor"
        if have != want:
            raise UserError(f"{path}: {name}: the file has {have}, the model {want}; {RESTORE}")
        if not tensors[name].isfinite().all():
            raise UserError(f"{path}: {name}: not all numbers are finite; {RESTORE}")
    model.load_state_dict(tensors, strict=not model.config.tied)
