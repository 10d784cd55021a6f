"""The model card of an exported model: its kind, its training data, its metrics."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATE = "card.md.jinja"
KEPT = ("block_size", "vocab_size", "parameters", "dtype", "labels", "max_length")  # passed on
KINDS = {
    "foundation": "This is a foundation model that continues texts.",
    "assistant": "This is an assistant that answers messages.",
    "classifier": "This is a classifier that assigns one of several labels to a text.",
}


def render(
    folder: str,
    name: str,
    kind: str,
    shape: Mapping[str, Any],
    sources: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Any],
    files: Mapping[str, str],
) -> str:
    """Render the model card, in Markdown, of the model of a stage or variant (`classify/all`).

    `folder` is the folder of the model. `kind` is foundation, assistant or classifier. `shape` has
    n_layer, n_embd, block_size, vocab_size, parameters, dtype, and for a classifier labels and
    max_length. `figures` are metrics by name: numbers, and intervals; all else is left out.
    """
    stage = name.partition("/")[0]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,  # Markdown
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(TEMPLATE).render(
        folder=folder,
        title=f"llmill {name}",
        stage=stage,
        kind=KINDS[kind],
        answers=kind == "assistant",
        layers=shape["n_layer"],
        width=shape["n_embd"],
        figures=[(k.replace("_", " "), text) for k, v in figures.items() if (text := _figure(v))],
        sources=[{**source, "sha256": digest(source)} for source in sources],
        begun=any(source["role"] == "init" for source in sources),
        files=files,
        **{key: shape[key] for key in KEPT},
    )


def digest(source: Mapping[str, Any]) -> str:
    """Return one sha256 for a source: its file's, or the hash of the list of its files' hashes."""
    hashes = [file["sha256"] for file in source["files"]]
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _figure(value: Any) -> str:
    """Format a number, or the value and the limits of an interval; "" for anything else."""
    if isinstance(value, Mapping) and {"value", "low", "high"} <= value.keys():
        shown, low, high = (_figure(value[name]) for name in ("value", "low", "high"))
        limits = f" ({low} to {high} over {value.get('covers', 'items')})" if low and high else ""
        return shown and shown + limits
    if not isinstance(value, int | float) or isinstance(value, bool):
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
