"""Checkpoint folders of Hugging Face's transformers: published weights in, ours out.

Weights are safetensors only, never pickle; `architectures.py` says what stands where.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import ValidationError
from safetensors import torch as safetensors
from torch import Tensor

from llmill.contract import elsewhere, printable, record
from llmill.contract.errors import UserError
from llmill.contract.model_folder import CONFIG, WEIGHTS
from llmill.contract.runtime import NUMBER_TYPES
from llmill.contract.values import Dtype
from llmill.model import classifiers, weights
from llmill.model.architectures import (
    ARCHITECTURES,
    Architecture,
    Change,
    Layout,
    turned,
)
from llmill.model.heads import ClassModel
from llmill.model.options import Config, Options
from llmill.model.settings import Model
from llmill.model.transformer import Transformer
from llmill.model.weights import Weights

AnyModel = TypeVar("AnyModel", Transformer, ClassModel)
LOG = logging.getLogger(__name__)
HEAD = "lm_head.weight"
EMBEDDINGS = ("model.embed_tokens.weight", "transformer.wte.weight")
# Tensors of old files that hold no weights: masks of attention, angles of rotary positions.
BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")


def load(folder: Path) -> Transformer:
    """The model in a folder, in evaluation mode, in float32 on the CPU. Beside it a piece of a
    tensor is in memory, or one matrix where it must be turned.

    Raises `UserError` for what is missing, too much, damaged or unknown.
    """
    options = Options(folder / CONFIG, elsewhere.read_object(folder / CONFIG))
    architecture = _architecture(options)
    config, vocab_size = _shape(options, architecture)
    _say_passed(options)
    stored = weights.of_folder(folder)
    stored.refuse_too_large(config, vocab_size, folder / CONFIG)
    if config.tied and _has_other_head(stored):
        _say(options, f"tie_word_embeddings = True, but {HEAD} is not the embedding; read untied")
        config = config.model_copy(update={"tied": False})
    layout = architecture.layout(config, vocab_size)
    return _filled(lambda: Transformer(config, vocab_size), layout, stored, config.tied)


def read_shape(folder: Path) -> tuple[Model, int]:
    """The shape that config and weights have, and the rows of the embedding.

    A head that is another than the embedding is one of its own, whatever the config says of it.
    """
    options = Options(folder / CONFIG, elsewhere.read_object(folder / CONFIG))
    config, vocab_size = _shape(options, _architecture(options))
    if config.tied and _has_other_head(weights.of_folder(folder)):
        config = config.model_copy(update={"tied": False})
    return config, vocab_size


def load_classifier(folder: Path) -> tuple[ClassModel, list[str]]:
    """The same for a classifier, and its labels. It reads the last token that it is told of;
    transformers looks for the last one that is not padding.
    """
    options = Options(folder / CONFIG, elsewhere.read_object(folder / CONFIG))
    architecture = _architecture(options)
    labels = classifiers.read(options, architecture)
    config, vocab_size = _shape(options, architecture)
    _say_passed(options)
    stored = weights.of_folder(folder)
    stored.refuse_too_large(config, vocab_size, folder / CONFIG)
    layout = classifiers.layout(architecture.layout(config, vocab_size), len(labels))

    def make() -> ClassModel:
        return ClassModel(Transformer(config, vocab_size), len(labels))

    return _filled(make, layout, stored, config.tied), labels


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


def _shape(options: Options, architecture: Architecture) -> tuple[Model, int]:
    """The shape and the size of the vocabulary; every option is then read."""
    vocab_size = options.whole("vocab_size")
    values = architecture.read(options)
    options.done()
    try:
        return Model(**values), vocab_size
    except ValidationError as error:
        reason = elsewhere.problem(error)
        raise UserError(f"{options.file}: not a shape of llmill's ({reason})") from None


def _say_passed(options: Options) -> None:
    if options.passed:
        _say(options, f"passed over, for no logit depends on it: {', '.join(options.passed)}")


def _say(options: Options, text: str) -> None:
    """One line about a file that is read otherwise than it says."""
    LOG.warning("%s", printable.error(f"{options.file}: {text}"))


def _has_other_head(stored: Weights) -> bool:
    """Whether there is a head whose numbers are not those of the embedding."""
    names = _names(stored)
    embedding = next((names[n] for n in EMBEDDINGS if n in names), None)
    head = names.get(HEAD)
    if head is None or embedding is None:
        return False
    if stored.tensors[head].shape != stored.tensors[embedding].shape:
        return True
    for name in (head, embedding):
        stored.refuse_other_numbers(name)
    pairs = zip(stored.pieces(head, False), stored.pieces(embedding, False), strict=True)
    return not all(torch.equal(one.float(), other.float()) for one, other in pairs)


def _refuse_other_names(stored: Weights, layout: Layout, tied: bool) -> None:
    """Raises `UserError` for a tensor that is missing, or one too many."""
    names = _names(stored).keys()
    expected = {part.name for parts in layout.values() for part in parts}
    for name in sorted(expected - names):
        raise UserError(f"{stored.folder}: {name}: no such tensor")
    for name in sorted(names - expected):
        if not (name == HEAD and tied) and not name.endswith(BUFFERS):
            raise UserError(f"{stored.folder}: {name}: a tensor that llmill does not know")


def _refuse_other_shapes(
    stored: Weights, layout: Layout, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Raises `UserError` for a tensor of another shape than the config says, or of numbers that are
    no weights. `shapes` are those of our tensors.
    """
    names = _names(stored)
    for target, parts in layout.items():
        for part in parts:
            name = names[part.name]
            expected = (part.rows, *shapes[target][1:])
            if part.change is turned:
                expected = expected[::-1]
            if stored.tensors[name].shape != expected:
                raise UserError(
                    f"{stored.tensors[name].file}: {name}: the file has "
                    f"{stored.tensors[name].shape}, the config says {expected}"
                )
            stored.refuse_other_numbers(name)


def _filled(make: Callable[[], AnyModel], layout: Layout, stored: Weights, tied: bool) -> AnyModel:
    """A model with these weights, which is made once they are known to fit it."""
    _refuse_other_names(stored, layout, tied)
    _refuse_other_shapes(stored, layout, weights.meta_shapes(make))
    model = make()
    _fill(model, layout, stored)
    return model.eval()


@torch.no_grad()
def _fill(model: Transformer | ClassModel, layout: Layout, stored: Weights) -> None:
    """Copy every tensor to where it belongs."""
    names, ours = _names(stored), model.state_dict()
    for target, parts in layout.items():
        first = 0
        for part in parts:
            into = ours[target][first : first + part.rows]
            _copy(stored, names[part.name], into, part.change)
            first += part.rows


def _names(stored: Weights) -> dict[str, str]:
    """Names as the causal model has them, and as the file does: GPT-2's lacks their beginning."""
    bare = "wte.weight" in stored.tensors
    return {
        f"transformer.{name}" if bare and name != HEAD else name: name for name in stored.tensors
    }


def _copy(stored: Weights, name: str, into: Tensor, change: Change | None) -> None:
    row = 0
    for piece in stored.pieces(name, whole=change is not None):
        if not all(extreme.isfinite() for extreme in piece.aminmax()):  # NaN would be both
            raise UserError(f"{stored.tensors[name].file}: {name}: not all numbers are finite")
        changed = change(piece) if change else piece
        into[row : row + len(changed)].copy_(changed)
        row += len(changed)


def _architecture(options: Options) -> Architecture:
    kind = options.take("model_type")
    if isinstance(kind, str) and kind in ARCHITECTURES:
        return ARCHITECTURES[kind]
    raise UserError(
        f"{options.file}: model_type = {elsewhere.quoted(kind)}: not an architecture that "
        f"llmill has; known: {', '.join(ARCHITECTURES)}"
    )


def _same(architecture: Architecture, config: Model) -> bool:
    """Whether the config that is written for a shape says the same shape, but for what a trained
    model does not use.
    """
    try:
        theirs = Model(**architecture.read(Options(Path(CONFIG), architecture.write(config))))
    except (UserError, ValidationError):
        return False
    unused = {"dropout"} | ({"rotary_base"} if config.position == "learned" else set())
    return theirs.model_dump(exclude=unused) == config.model_dump(exclude=unused)
