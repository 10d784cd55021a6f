"""`llmill tokens TEXT`: print the pieces that a tokenizer cuts a text into, and their ids."""

from pathlib import Path

from llmill import models
from llmill.contract import pipeline, printable
from llmill.contract.errors import UserError
from llmill.contract.model_folder import BPE
from llmill.runner import params
from llmill.text.tokenization import model_tokenizer
from llmill.text.tokenization.tokenizer import Tokenizer


def print_tokens(text: str, model: str | None = None) -> None:
    """Print a line per token: its id, and its piece in quotes, which show its spaces."""
    tokenizer = _tokenizer(model)
    ids = tokenizer.encode(text)
    if not ids:
        raise UserError("an empty text has no tokens")
    width = len(str(max(ids)))
    for token in ids:
        print(f"{token:>{width}}  '{_shown(tokenizer.decode_bytes([token]))}'")


def _tokenizer(model: str | None) -> Tokenizer:
    """Return the tokenizer of a model, or the one that stage `tokenizer` made."""
    if model is not None:
        return model_tokenizer.read(models.located(model))
    folder: Path = pipeline.folder(params.stages(params.load()), "tokenizer") / BPE
    if not folder.is_dir():
        raise UserError(f"{folder}: no tokenizer yet; `dvc repro tokenizer` makes it")
    return Tokenizer.load(folder)


def _shown(piece: bytes) -> str:
    """Return a piece as text; it may end within a character, whose bytes are shown as numbers."""
    return printable.line(piece.decode("utf-8", errors="backslashreplace"))
