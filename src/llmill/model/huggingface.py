"""Read and write checkpoint folders of Hugging Face's transformers.

Weights are safetensors only, never pickle; `architectures.py` has the layout of the tensors.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import torch as safetensors

from llmill.contract import elsewhere, printable, record
from llmill.contract.errors import UserError
from llmill.contract.model_folder import CONFIG, WEIGHTS
from llmill.contract.runtime import NUMBER_TYPES
from llmill.contract.values import Dtype
from llmill.model import classifiers, filling, weights
from llmill.model.architectures import ARCHITECTURES, Architecture, Layout
from llmill.model.filling import AnyModel
from llmill.model.heads import ClassModel
from llmill.model.options import Config, Options
from llmill.model.settings import Model
from llmill.model.transformer import Transformer
from llmill.model.weights import Weights

LOG = logging.getLogger(__name__)
HEAD = "lm_head.weight"
EMBEDDINGS = ("model.embed_tokens.weight", "transformer.wte.weight")
# Tensors of old files that are not weights: attention masks and angles of rotary positions.
BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")


def load(folder: Path) -> Transformer:
    """Load the model of a folder, in evaluation mode, in float32 on the CPU. Besides the model,
    memory holds a piece of a tensor, or one whole matrix if its layout must change.

    Raises `UserError` for anything missing, superfluous, damaged or unknown.
    """
    options = Options(folder / CONFIG, elsewhere.read_object(folder / CONFIG))
    architecture = _architecture(options)
    config, vocab_size = _shape(options, architecture)
    _say_passed(options)
    stored = weights.of_folder(folder)
    stored.refuse_too_large(config, vocab_size, folder / CONFIG)
    if config.tied and _has_other_head(stored, (vocab_size, config.n_embd)):
        _say(options, f"tie_word_embeddings = True, but {HEAD} is not the embedding; read untied")
        config = config.model_copy(update={"tied": False})
    layout = architecture.layout(config, vocab_size)
    return _filled(lambda: Transformer(config, vocab_size), layout, stored, config.tied)


def read_shape(folder: Path) -> tuple[Model, int]:
    """Return the shape that config and weights give, and the number of rows of the embedding.

    A head whose numbers differ from the embedding's makes the model untied, whatever the config
    says.
    """
    options = Options(folder / CONFIG, elsewhere.read_object(folder / CONFIG))
    config, vocab_size = _shape(options, _architecture(options))
    if config.tied and _has_other_head(weights.of_folder(folder), (vocab_size, config.n_embd)):
        config = config.model_copy(update={"tied": False})
    return config, vocab_size


def load_classifier(folder: Path) -> tuple[ClassModel, list[str]]:
    """Load a classifier as `load` does, and its labels. It reads the last token that `lengths`
    gives; transformers looks for the last token that is not padding.
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
    """Write `config.json` and `model.safetensors` as transformers 5 or newer reads them.

    `architecture` is the one that fits the model's shape (`fitting`), `special` holds the ids of
    special tokens, and `labels` the labels of a classifier.
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
    """Return the architecture whose config, once written, is read back as this shape, or None."""
    return next((each for each in ARCHITECTURES.values() if _same(each, config)), None)


def _shape(options: Options, architecture: Architecture) -> tuple[Model, int]:
    """Return the shape and the size of the vocabulary, and read every option."""
    vocab_size = options.whole("vocab_size")
    values = architecture.read(options)
    for name in ("is_encoder_decoder", "is_decoder"):
        options.only(name, False)
    options.only("pruned_heads", {}, None)
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
    """Log one line about a file that llmill does not read as the file says."""
    LOG.warning("%s", printable.error(f"{options.file}: {text}"))


def _has_other_head(stored: Weights, shape: tuple[int, int]) -> bool:
    """Return whether there is a head whose numbers differ from those of the embedding, which has
    this shape. Raises `UserError` if it has another.
    """
    names = _names(stored)
    embedding = next((names[n] for n in EMBEDDINGS if n in names), None)
    head = names.get(HEAD)
    if head is None or embedding is None:
        return False
    stored.refuse_other_shape(embedding, shape)
    if stored.tensors[head].shape != stored.tensors[embedding].shape:
        return True
    for name in (head, embedding):
        stored.refuse_other_numbers(name)
    pairs = zip(stored.pieces(head, False), stored.pieces(embedding, False), strict=True)
    return not all(torch.equal(one.float(), other.float()) for one, other in pairs)


def _filled(make: Callable[[], AnyModel], layout: Layout, stored: Weights, tied: bool) -> AnyModel:
    """Return a model with these weights. The file may repeat a tied head."""
    unused = (*BUFFERS, HEAD) if tied else BUFFERS
    return filling.filled(make, layout, stored, _names(stored), unused)


def _names(stored: Weights) -> dict[str, str]:
    """Map a tensor's name in the causal model to its name in the file. Files of GPT-2 may lack the
    prefix `transformer.`.
    """
    bare = "wte.weight" in stored.tensors
    return {
        f"transformer.{name}" if bare and name != HEAD else name: name for name in stored.tensors
    }


def _architecture(options: Options) -> Architecture:
    kind = options.take("model_type")
    if isinstance(kind, str) and kind in ARCHITECTURES:
        return ARCHITECTURES[kind]
    raise UserError(
        f"{options.file}: model_type = {elsewhere.quoted(kind)}: not an architecture that "
        f"llmill has; known: {', '.join(ARCHITECTURES)}"
    )


def _same(architecture: Architecture, config: Model) -> bool:
    """Return whether the config that is written for a shape gives the same shape again, apart from
    options that a trained model does not use.
    """
    try:
        theirs = Model(**architecture.read(Options(Path(CONFIG), architecture.write(config))))
    except (UserError, ValidationError):
        return False
    unused = {"dropout"} | ({"rotary_base"} if config.position == "learned" else set())
    return theirs.model_dump(exclude=unused) == config.model_dump(exclude=unused)
