"""The folder of a model, ours or Hugging Face's: what stands where, and which of the two it is."""

from pathlib import Path

CONFIG, WEIGHTS = "config.json", "model.safetensors"
TOKENIZER_CONFIG = "tokenizer_config.json"  # Hugging Face's
BPE = "bpe"  # our tokenizer's own folder, in a model's as in that of stage tokenizer


def is_ours(folder: Path) -> bool:
    """Our folders hold their tokenizer in a folder of its own; Hugging Face's hold files alone."""
    return (folder / BPE).is_dir()
