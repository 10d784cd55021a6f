"""Open a model's folder or file of any of the three forms, llmill's, Hugging Face's or GGUF, with
the same result.
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
    """A model's folder. The weights are read only when `load` is called."""

    form: Form
    said_in: Path  # the file with the description
    shape: Model
    rows: int  # of the embedding
    template: str | None  # chat template, in Jinja
    begins: int | None  # the token that begins a text, if the folder names one
    load: Callable[[], AnyModel]


def opened(place: Path) -> Opened:
    """Open a model's folder or file. Raises a one-line `UserError` for what its reader refuses."""
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
