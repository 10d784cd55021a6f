"""The folder of a model: the names in it, and which of three forms it has: llmill's own, Hugging
Face's, or one file in llama.cpp's format, GGUF.
"""

from pathlib import Path
from typing import Literal

from llmill.contract.errors import UserError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
TOKENIZER_CONFIG, CHAT_TEMPLATE = "tokenizer_config.json", "chat_template.jinja"  # Hugging Face's
BPE = "bpe"  # the tokenizer's folder, in a model's folder and in stage tokenizer's
GGUF = ".gguf"

Form = Literal["ours", "huggingface", "gguf"]


def form(place: Path) -> Form:
    """Return the form of a folder, or of a file, which can only be GGUF. Anything else counts as
    Hugging Face's, whose reader reports what is missing.
    """
    if is_ours(place):
        return "ours"
    safe = place.is_dir() and any(place.glob("*.safetensors"))
    return "gguf" if not safe and gguf_file(place) else "huggingface"


def is_ours(folder: Path) -> bool:
    """Return whether the tokenizer has a folder of its own, as in llmill's form; Hugging Face's
    folders hold only files.
    """
    return (folder / BPE).is_dir()


def gguf_file(place: Path) -> Path | None:
    """Return the GGUF file at this path or in it. Raises `UserError` if there are several."""
    if not place.is_dir():
        return place if place.suffix == GGUF and place.exists() else None
    files = sorted(place.glob(f"*{GGUF}"))
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise UserError(f"{place}: several models ({names}); name the file in place of the folder")
    return files[0] if files else None
