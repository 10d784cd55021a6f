"""The model card of exported weights: what it is, what it learnt from, what it can do."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATE = "card.md.jinja"
KEPT = ("block_size", "vocab_size", "parameters", "dtype", "labels", "max_length")  # as they are
KINDS = {
    "foundation": "A foundation model: it continues texts.",
    "assistant": "An assistant: it answers messages, over several turns.",
    "classifier": "A classifier: it gives a text one of some labels.",
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
    """Markdown for the model of a stage, or of a variant (`classify/all`), which lies in a folder.

    `kind`: foundation, assistant or classifier.

    `shape`: n_layer, n_embd, block_size, vocab_size, parameters, dtype; of a classifier labels and
    max_length. `figures` by name; those that are no single number are left out.
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
        figures=[(k.replace("_", " "), _number(v)) for k, v in figures.items() if _single(v)],
        sources=[{**source, "sha256": digest(source)} for source in sources],
        begun=any(source["role"] == "init" for source in sources),
        files=files,
        **{key: shape[key] for key in KEPT},
    )


def digest(source: Mapping[str, Any]) -> str:
    """One sha256 for a source: its file's, or that of the list of its files'."""
    hashes = [file["sha256"] for file in source["files"]]
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _single(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
