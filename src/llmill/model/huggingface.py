"""Checkpoint folders of Hugging Face's transformers: published weights in, ours out.

Weights are safetensors only, never pickle; `architectures.py` says what stands where.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors
from torch import Tensor

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.contract.model_folder import CONFIG, WEIGHTS
from llmill.contract.runtime import NUMBER_TYPES
from llmill.contract.schema import Model
from llmill.contract.values import Dtype
from llmill.model import classifiers
from llmill.model.architectures import (
    ARCHITECTURES,
    Architecture,
    Change,
    Config,
    Layout,
    Options,
    turned,
)
from llmill.model.heads import ClassModel
from llmill.model.transformer import Transformer

INDEX = "model.safetensors.index.json"
PIECE = 2 * 2**20  # bytes of a tensor that are in memory beside the model at once
# Tensors of old files that hold no weights: masks of attention, angles of rotary positions.
BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")


def load(folder: Path) -> Transformer:
    """The model in a folder, in evaluation mode, in float32 on the CPU. Beside it a piece of a
    tensor is in memory, or one matrix where it must be turned.

    Raises `UserError` for what is missing, too much, damaged or unknown.
    """
    architecture, config, vocab_size = read_config(folder)
    weights, layout = Weights(folder), architecture.layout(config, vocab_size)
    _refuse_other_names(weights, layout, config.tied)
    model = Transformer(config, vocab_size)
    _fill(model, layout, weights)
    return model.eval()


def read_config(folder: Path) -> tuple[Architecture, Model, int]:
    """What `config.json` says: architecture, shape, and rows of the embedding."""
    options = Options(folder / CONFIG, record.read_object(folder / CONFIG))
    architecture = _architecture(options)
    return architecture, *_shape(options, architecture)


def load_classifier(folder: Path) -> tuple[ClassModel, list[str]]:
    """The same for a classifier, and its labels. It reads the last token that it is told of;
    transformers looks for the last one that is not padding.
    """
    options = Options(folder / CONFIG, record.read_object(folder / CONFIG))
    architecture = _architecture(options)
    labels = classifiers.read(options, architecture)
    config, vocab_size = _shape(options, architecture)
    layout = classifiers.layout(architecture.layout(config, vocab_size), len(labels))
    weights = Weights(folder)
    _refuse_other_names(weights, layout, config.tied)
    model = ClassModel(Transformer(config, vocab_size), len(labels))
    _fill(model, layout, weights)
    return model.eval(), labels


def save(
    folder: Path,
    model: Transformer | ClassModel,
    architecture: Architecture,
    special: Config,
    dtype: Dtype = "float32",
    labels: Sequence[str] | None = None,
) -> None:
    """Write `config.json` and `model.safetensors` as transformers, 5 or newer, reads them.

    `architecture` is that of the model's shape (`fitting`), `special` the ids of special tokens,
    `labels` are those of a classifier.
    """
    folder.mkdir(parents=True, exist_ok=True)
    body = model if isinstance(model, Transformer) else model.body
    config = {
        "architectures": [architecture.called(classifier=labels is not None)],
        "model_type": architecture.model_type,
        "vocab_size": body.vocab_size,
        "dtype": dtype,
        **architecture.write(model.config),
        **({} if labels is None else classifiers.write(labels)),
        **special,
    }
    layout = architecture.layout(model.config, body.vocab_size)
    if labels is not None:
        layout = classifiers.layout(layout, len(labels))
    ours, tensors = model.state_dict(), {}
    for name, parts in layout.items():
        rows = ours[name].detach().cpu().split([part.rows for part in parts])
        for part, piece in zip(parts, rows, strict=True):
            changed = part.change(piece) if part.change else piece
            tensors[part.name] = changed.to(NUMBER_TYPES[dtype]).contiguous().clone()
    record.write_json(folder / CONFIG, config)
    record.write_bytes(folder / WEIGHTS, safetensors.save(tensors, metadata={"format": "pt"}))


def fitting(config: Model) -> Architecture | None:
    """The architecture that has this shape: what it writes is read as the same."""
    return next((each for each in ARCHITECTURES.values() if _same(each, config)), None)


class Weights:
    """The tensors of a folder, in one file or in several with an index, read a piece at a time."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.files = self._files()

    def _files(self) -> dict[str, Path]:
        """The file of each tensor."""
        if (self.folder / INDEX).exists():
            named = record.read_object(self.folder / INDEX).get("weight_map", {})
            for file in sorted(set(named.values())):
                if not (self.folder / file).exists():
                    raise UserError(f"{self.folder / file}: missing, but {INDEX} names it")
            return {tensor: self.folder / file for tensor, file in named.items()}
        file = self.folder / WEIGHTS
        if file.exists():
            with self._open(file) as opened:
                return dict.fromkeys(opened.keys(), file)
        pickled = sorted(self.folder.glob("*.bin")) + sorted(self.folder.glob("*.pt*"))
        if pickled:
            raise UserError(
                f"{pickled[0]}: a pickle runs whatever code its maker put in; llmill reads "
                f"safetensors only, and {WEIGHTS} is not there"
            )
        raise UserError(f"{file}: missing")

    def shape(self, name: str) -> tuple[int, ...]:
        """Raises `UserError` for a tensor that its file does not have."""
        with self._open(self.files[name]) as opened:
            try:
                return tuple(opened.get_slice(name).get_shape())
            except SafetensorError:
                raise UserError(
                    f"{self.files[name]}: {name}: missing, but {INDEX} names it"
                ) from None

    def pieces(self, name: str, whole: bool) -> Iterator[Tensor]:
        """The rows of a tensor, a few at a time, or all at once. The file is opened anew for each,
        since what was read of an open one stays in memory.
        """
        shape = self.shape(name)
        row = 4 * max(1, torch.Size(shape[1:]).numel())
        count = shape[0] if whole else max(1, PIECE // row)
        for start in range(0, shape[0], count):
            with self._open(self.files[name]) as opened:
                yield opened.get_slice(name)[start : start + count]

    def _open(self, file: Path) -> Any:
        try:
            return safe_open(file, framework="pt")
        except SafetensorError as error:
            raise UserError(f"{file}: cut short or damaged ({error})") from None


def _shape(options: Options, architecture: Architecture) -> tuple[Model, int]:
    """The shape and the size of the vocabulary; every option is then read."""
    vocab_size = options.take("vocab_size")
    values = architecture.read(options)
    options.done()
    try:
        return Model(**values), vocab_size
    except ValidationError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{options.file}: not a shape of llmill's ({reason})") from None


def _refuse_other_names(weights: Weights, layout: Layout, tied: bool) -> None:
    """Raises `UserError` for a tensor that is missing, or one too many."""
    found = _names(weights).keys()
    wanted = {part.name for parts in layout.values() for part in parts}
    for name in sorted(wanted - found):
        raise UserError(f"{weights.folder}: {name}: no such tensor")
    for name in sorted(found - wanted):
        if not (name == "lm_head.weight" and tied) and not name.endswith(BUFFERS):
            raise UserError(f"{weights.folder}: {name}: a tensor that llmill does not know")


@torch.no_grad()
def _fill(model: Transformer | ClassModel, layout: Layout, weights: Weights) -> None:
    """Copy every tensor to where it belongs."""
    names, ours = _names(weights), model.state_dict()
    for target, parts in layout.items():
        first = 0
        for part in parts:
            into = ours[target][first : first + part.rows]
            _copy(weights, names[part.name], into, part.change)
            first += part.rows


def _names(weights: Weights) -> dict[str, str]:
    """Names as the causal model has them, and as the file does: GPT-2's lacks their beginning."""
    bare = "wte.weight" in weights.files
    return {f"transformer.{name}" if bare else name: name for name in weights.files}


def _copy(weights: Weights, name: str, into: Tensor, change: Change | None) -> None:
    shape, row = weights.shape(name), 0
    wanted = tuple(into.mT.shape if change is turned else into.shape)
    if shape != wanted:
        raise UserError(
            f"{weights.files[name]}: {name}: the file has {shape}, the config says {wanted}"
        )
    for piece in weights.pieces(name, whole=change is not None):
        if not all(extreme.isfinite() for extreme in piece.aminmax()):  # NaN would be both
            raise UserError(f"{weights.files[name]}: {name}: not all numbers are finite")
        changed = change(piece) if change else piece
        into[row : row + len(changed)].copy_(changed)
        row += len(changed)


def _architecture(options: Options) -> Architecture:
    kind = options.take("model_type")
    if kind in ARCHITECTURES:
        return ARCHITECTURES[kind]
    raise UserError(
        f"{options.file}: model_type = {kind!r}: not an architecture that llmill has; "
        f"known: {', '.join(ARCHITECTURES)}"
    )


def _same(architecture: Architecture, config: Model) -> bool:
    """Whether the config that is written for a shape says the same shape, but for what a trained
    model does not use.
    """
    try:
        read = Model(**architecture.read(Options(Path(CONFIG), architecture.write(config))))
    except (UserError, ValidationError):
        return False
    unused = {"dropout"} | ({"rotary_base"} if config.position == "learned" else set())
    return read.model_dump(exclude=unused) == config.model_dump(exclude=unused)
