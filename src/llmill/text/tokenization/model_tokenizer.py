"""Reads the tokenizer of a model's folder in any of its three forms."""

from pathlib import Path

from llmill.contract.model_folder import BPE, form, gguf_file
from llmill.text.files import gguf_file as gguf
from llmill.text.tokenization import gguf_tokenizer, hf_tokenizer
from llmill.text.tokenization.tokenizer import Tokenizer


def read(place: Path) -> Tokenizer:
    """Return the tokenizer in a folder or a GGUF file.

    Raises `UserError` for one that cannot be used exactly.
    """
    match form(place):
        case "ours":
            return Tokenizer.load(place / BPE)
        case "gguf":
            file = gguf_file(place)
            assert file is not None, "what makes it one"
            return gguf_tokenizer.read(gguf.read(file))
        case _:
            return hf_tokenizer.read(place)
