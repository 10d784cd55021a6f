"""Checks between sections of `params.yaml`: values that are valid alone may not fit together."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from llmill.contract.known import GPT2_TOKENS
from llmill.runner import roots
from llmill.training.settings import Training

if TYPE_CHECKING:
    from llmill.runner.tree import Params

MOST_NUMBERS = 10**12  # in a model, or in one value of a batch: 4 TB, more than a machine holds


def check(tree: "Params") -> None:
    """Raise `ValueError` about the first sections that do not agree."""
    roots.check(tree.paths.data, tree.paths.results)
    _sources(tree)
    _tokenizer(tree)
    _weights_to_begin_from(tree)
    _objective(tree)
    _variants(tree)
    _template(tree)
    _lengths(tree)
    _size(tree)


def _sources(tree: "Params") -> None:
    download, prepare = tree.download, tree.prepare
    _named_once("text", download.text_names, "prepare.weights", prepare.weights)
    key, weights = "prepare.instruction.weights", prepare.instruction.weights
    _named_once("instruction", download.instruction_names, key, weights)


def _variants(tree: "Params") -> None:
    if tree.download.classification is not None and not any(dict(tree.variants).values()):
        raise ValueError(
            "variants: all are off; switch one on, or set download.classification: null to make no "
            "classifier"
        )


def _named_once(role: str, names: list[str], key: str, weights: Mapping[str, float]) -> None:
    """Check that each source is named once, and that each weight belongs to a source."""
    unknown = sorted(set(weights) - set(names))
    if unknown:
        known = ", ".join(names) or "null"
        raise ValueError(
            f"{key} names {unknown[0]}, which is no source of download.{role}: {known}; "
            f"correct download.{role}, or take it out of {key}"
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ValueError(
            f"download.{role} names '{twice}' twice; {key} repeats a source, and a file is named "
            "by what stands before its first dot"
        )


def _tokenizer(tree: "Params") -> None:
    kind, size = tree.tokenizer.kind, tree.tokenizer.vocab_size
    if (kind == "gpt2") != (tree.download.tokenizer is not None):
        raise ValueError(
            "tokenizer.kind gpt2 needs download.tokenizer, and any other needs it null"
        )
    if kind == "gpt2" and size != GPT2_TOKENS:
        raise ValueError(f"tokenizer.vocab_size {size}: GPT-2 has {GPT2_TOKENS}")
    if (kind == "init") != (size is None):
        raise ValueError(
            "tokenizer.vocab_size is null with tokenizer.kind init, which brings its own, and a "
            "number with any other"
        )


def _weights_to_begin_from(tree: "Params") -> None:
    """Check starting weights: they bring their shape and tokenizer, and only they may stay
    untrained.
    """
    begun, named = tree.download.init, hasattr(tree.model, "shape")
    if named and begun is None:
        raise ValueError("model.shape init needs download.init: the weights to begin from")
    if begun is not None and not named:
        raise ValueError(
            f"download.init {begun} needs `model: {{shape: init}}`: weights bring their shape"
        )
    if begun is not None and tree.tokenizer.kind != "init":
        raise ValueError(
            f"download.init {begun} needs tokenizer.kind init: weights know no other tokens"
        )
    if begun is None and tree.tokenizer.kind == "init":
        raise ValueError("tokenizer.kind init needs download.init: the weights to begin from")
    _outside_of_what_is_made(tree)
    for name, training in _trainings(tree):
        nothing = training.max_steps == 0
        if nothing and (name != "pretrain" or begun is None):
            raise ValueError(
                f"{name}.training.max_steps 0 trains nothing; only pretrain may, with download.init"
            )


def _outside_of_what_is_made(tree: "Params") -> None:
    """Check that a folder of starting weights outlives the run that begins from it."""
    folder = tree.download.init_folder
    for name, root in tree.paths:
        if folder and Path(folder).resolve().is_relative_to(Path(root).resolve()):
            raise ValueError(
                f"download.init {folder} lies in paths.{name}, which the run itself writes; copy "
                "it out: `mkdir -p models && cp -r FOLDER models/NAME`"
            )


def _objective(tree: "Params") -> None:
    """Check the objective. Whether starting weights are causal is not known here."""
    objective, samples = tree.pretrain.objective, tree.pretrain.samples
    causal = getattr(tree.model, "causal", None)
    if causal is not None and causal != (objective == "next_token"):
        raise ValueError(
            f"pretrain.objective {objective} does not fit model.causal {str(causal).lower()}: "
            "masked needs false, next_token true"
        )
    if objective == "masked" and samples.prompts:
        raise ValueError("pretrain.samples.prompts must be []: a masked model writes no text")


def _template(tree: "Params") -> None:
    """Check the template. Whether one came with the weights is not known here."""
    if tree.instruct.template == "weights" and not hasattr(tree.model, "shape"):
        raise ValueError(
            "instruct.template weights: the model does not start from weights; choose another one"
        )


def _lengths(tree: "Params") -> None:
    """Check lengths against the context. That of starting weights is checked by the stages."""
    block = tree.model.block_size
    if block is None:
        return
    if tree.classify.max_length > block:
        raise ValueError(
            f"classify.max_length {tree.classify.max_length} is above model.block_size {block}"
        )
    if wrong := [n for n in tree.pretrain.shorten_rows if block % n]:
        raise ValueError(
            f"pretrain.shorten_rows: {wrong[0]} does not divide model.block_size {block}; "
            "set it to [1], or choose divisors"
        )
    for name, section in tree:
        if getattr(section, "max_new_tokens", 0) >= block:
            raise ValueError(
                f"{name}.max_new_tokens leaves no room for a prompt in model.block_size"
            )


def _size(tree: "Params") -> None:
    """Check the size by arithmetic, before anything is allocated. Starting weights exist, so they
    fit.
    """
    model, vocab_size = tree.model, tree.tokenizer.vocab_size
    if hasattr(model, "shape") or vocab_size is None:
        return
    numbers = model.parameters(vocab_size)
    if numbers > MOST_NUMBERS:
        raise ValueError(
            f"the model has {numbers:.1e} parameters, which no machine holds; lower model.n_layer, "
            "model.n_embd, model.mlp_hidden, model.block_size or tokenizer.vocab_size"
        )
    for name, training in _trainings(tree):
        rows = training.batch_size
        length = tree.classify.max_length if name == "classify" else model.block_size
        if rows * length * model.n_embd > MOST_NUMBERS:
            raise ValueError(
                f"{name}.training.batch_size {rows}: so many rows of {length} tokens of "
                f"{model.n_embd} numbers are in no machine's memory; lower it"
            )


def _trainings(tree: "Params") -> Iterator[tuple[str, Training]]:
    """Yield the name and training settings of each section that trains."""
    for name, section in tree:
        training = getattr(section, "training", None)
        if isinstance(training, Training):
            yield name, training
