"""The folder of a model: what stands where, and which of three forms it is: ours, Hugging Face's,
or one file in llama.cpp's format, GGUF.
"""

from pathlib import Path
from typing import Literal

from llmill.contract.errors import UserError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
TOKENIZER_CONFIG, CHAT_TEMPLATE = "tokenizer_config.json", "chat_template.jinja"  # Hugging Face's
BPE = "bpe"  # our tokenizer's own folder, in a model's as in that of stage tokenizer
GGUF = ".gguf"

Form = Literal["ours", "huggingface", "gguf"]


def form(place: Path) -> Form:
    """Of a folder, or of a file, which can only be GGUF. What is none of them counts as Hugging
    Face's, whose reader says what is missing.
    """
    if is_ours(place):
        return "ours"
    safe = place.is_dir() and any(place.glob("*.safetensors"))
    return "gguf" if not safe and gguf_file(place) else "huggingface"


def is_ours(folder: Path) -> bool:
    """Our folders hold their tokenizer in a folder of its own; Hugging Face's hold files alone."""
    return (folder / BPE).is_dir()


def gguf_file(place: Path) -> Path | None:
    """The GGUF file that this is or that lies in it; raises `UserError` where several do."""
    if not place.is_dir():
        return place if place.suffix == GGUF and place.exists() else None
    files = sorted(place.glob(f"*{GGUF}"))
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise UserError(f"{place}: several models ({names}); name the file in place of the folder")
    return files[0] if files else None
