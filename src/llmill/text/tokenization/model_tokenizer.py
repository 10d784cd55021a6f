"""The tokenizer of a model's folder, whichever of the three forms it has."""

from pathlib import Path

from llmill.contract.model_folder import BPE, form, gguf_file
from llmill.text.files import gguf_file as gguf
from llmill.text.tokenization import gguf_tokenizer, hf_tokenizer
from llmill.text.tokenization.tokenizer import Tokenizer


def read(place: Path) -> Tokenizer:
    """The tokenizer in a folder or a GGUF file; raises `UserError` for one that cannot be used
    exactly.
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
