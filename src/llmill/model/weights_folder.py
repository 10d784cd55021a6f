"""The one door for a model's folder, or its file: whichever of the three forms it has, ours,
Hugging Face's or GGUF, it is opened here and answers alike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmill.contract import elsewhere
from llmill.contract.model_folder import CONFIG, Form, form, gguf_file
from llmill.model import checkpoint, gguf, huggingface
from llmill.model.checkpoint import AnyModel
from llmill.model.settings import Model
from llmill.text.files import gguf_file as gguf_files
from llmill.text.tokenization import gguf_tokenizer, template


@dataclass(frozen=True)
class Opened:
    """What a folder says of its model. The weights are read when they are asked for."""

    form: Form
    said_in: Path  # the file that says it
    shape: Model
    rows: int  # of the embedding
    template: str | None  # how a chat is put to it, in Jinja
    begins: int | None  # the token that a text begins behind, where it names one
    load: Callable[[], AnyModel]


def opened(place: Path) -> Opened:
    """Raises `UserError` for what its reader refuses, in one line."""
    kind = form(place)
    return {"ours": _ours, "huggingface": _huggingface, "gguf": _gguf}[kind](place)


def _ours(folder: Path) -> Opened:
    config = checkpoint.read_config(folder)
    return Opened(
        "ours", folder / CONFIG, config.model, config.vocab_size,
        config.template or config.weights_template, None,
        lambda: checkpoint.load(folder).model,
    )  # fmt: skip


def _huggingface(folder: Path) -> Opened:
    shape, rows = huggingface.read_shape(folder)
    begins = elsewhere.read_object(folder / CONFIG).get("bos_token_id")
    return Opened(
        "huggingface", folder / CONFIG, shape, rows, template.of_folder(folder),
        begins if type(begins) is int else None,
        lambda: huggingface.load(folder),
    )  # fmt: skip


def _gguf(place: Path) -> Opened:
    file = gguf_file(place)
    assert file is not None, "what makes it one"
    shape, rows = gguf.read_shape(file)
    source = gguf_files.read(file)
    return Opened(
        "gguf", file, shape, rows, gguf_tokenizer.template(source), gguf_tokenizer.begins(source),
        lambda: gguf.load(file),
    )  # fmt: skip
