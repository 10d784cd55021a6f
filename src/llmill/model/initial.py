"""The weights that training begins from: llmill's or other published weights in the folder `init`
of stage download, with the changes that `model: {shape: init, ...}` requests.

For a longer context, rotary positions continue with their base. Learned positions get new rows,
drawn from a normal distribution with the mean and standard deviation of each old column.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from llmill.contract.errors import UserError
from llmill.model import checkpoint
from llmill.model.settings import FromInit, Model
from llmill.model.transformer import Transformer
from llmill.model.weights import without_memory
from llmill.model.weights_folder import opened

PADDING = 128  # embeddings are padded to a multiple of at most this number


def shape(section: Model | FromInit, folder: Path) -> Model:
    """Return the shape that `model` of params.yaml means. With `shape: init` it is read from the
    weights in `folder`.

    Raises `UserError` for changes of rotary positions if the weights have learned ones.
    """
    if not isinstance(section, FromInit):
        return section
    stored = opened(folder).shape
    for name in ("rotary_base", "rotary_scaling"):
        if stored.position == "learned" and getattr(section, name) is not None:
            raise UserError(
                f"params.yaml: model.{name}: the weights in {folder} have learned positions, not "
                "rotary ones; leave it out"
            )
    return section.applied(stored)


def load(folder: Path, config: Model, n_vocab: int) -> Transformer:
    """Load the weights in a folder as a model of the shape `config` over `n_vocab` tokens, in
    evaluation mode on the CPU.

    Rows of the embedding beyond the tokenizer's are padding and are cut off. Raises `UserError` for
    an embedding of another tokenizer, for a model with another head, and for whatever the reader
    refuses.
    """
    source = opened(folder)
    stored, rows = source.shape, source.rows
    if not n_vocab <= rows < n_vocab + PADDING:
        raise UserError(
            f"{source.said_in}: the embedding has {rows} rows, the tokenizer {n_vocab} tokens; "
            "weights need the tokenizer that they were trained with"
        )
    loaded = source.load()
    if not isinstance(loaded, Transformer):
        raise UserError(
            f"{source.said_in}: head {checkpoint.HEADS[type(loaded)]}; training can start "
            "only from a model that pretrain or instruct made"
        )
    if (config, n_vocab) == (stored, rows):
        return loaded
    return _refitted(loaded, config, n_vocab)


def template(folder: Path) -> str | None:
    """Return the chat template that came with the weights in a folder, or None."""
    return opened(folder).template


def _refitted(loaded: Transformer, config: Model, n_vocab: int) -> Transformer:
    """Return a model of another shape that reuses the loaded tensors, except those that change, so
    that memory never holds a second model.
    """
    with without_memory():
        model = Transformer(config, n_vocab)
    old = dict(loaded.named_parameters())
    for name, new in list(model.named_parameters()):
        place, _, last = name.rpartition(".")
        fitted = nn.Parameter(_fitted(old[name].detach(), len(new)))
        setattr(model.get_submodule(place), last, fitted)
    if config.tied:
        model.head.weight = model.embedding.weight
    return model.eval()


def _fitted(old: Tensor, rows: int) -> Tensor:
    """Return a tensor with `rows` rows: `old` itself, or a copy that is cut or has random rows
    appended.
    """
    more = rows - len(old)
    if more == 0:
        return old
    if more < 0:
        return old[:rows].clone()
    fresh = old.mean(dim=0) + old.std(dim=0) * torch.randn(more, *old.shape[1:])
    return torch.cat((old, fresh))
