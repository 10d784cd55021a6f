"""Write a model as transformers loads it, with `from_pretrained` and without our code.

    python -m llmill export instruct

In: the checkpoint of the named stage, its figures, and where its data came from. Out: the folder
`model/`: weights, config, tokenizer, for a language model generation settings, for the assistant a
chat template, and a model card; and `metrics.json`. Of a form that transformers does not have:
`metrics.json` alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmill.contract import record
from llmill.contract.model_folder import TOKENIZER_CONFIG
from llmill.contract.values import Dtype, Section
from llmill.model import checkpoint, huggingface
from llmill.model.checkpoint import AnyModel, Checkpoint
from llmill.model.heads import ScoreModel
from llmill.report import card
from llmill.stages.settings.export import Export
from llmill.text import tokenizer_json

if TYPE_CHECKING:
    from llmill.contract.job import Job

ROLES: dict[checkpoint.Kind, tuple[str, ...]] = {  # of what a model began from and learnt from
    "foundation": ("init", "text"),
    "assistant": ("init", "text", "instruction"),
    "classifier": ("init", "text", "classification"),
}


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    export: Export


def run(params: Parameters, job: Job) -> None:
    """Convert the checkpoint; in float32 the numbers of its weights stay as they are."""
    assert job.variant is not None, "a matrix stage"
    stage = job.folder(job.variant)
    loaded = checkpoint.load(stage / "checkpoint")
    model = loaded.model
    parameters = sum(p.numel() for p in model.parameters())
    architecture = huggingface.fitting(model.config)
    called = architecture and architecture.called(loaded.labels is not None)
    if architecture is None or called is None:
        lacking = "architecture with these switches of `model`"
        if architecture is not None:
            lacking = f"classifier of the architecture {architecture.model_type}"
        job.say(f"not exported: transformers has no {lacking}")
        # No error: what transformers lacks must not stop the chain.
        nothing: dict[str, Any] = {"architecture": None, "parameters": parameters, "files": {}}
        record.write_json(job.out / "metrics.json", nothing)
        return
    folder = job.out / "model"
    write(folder, loaded, params.export.dtype)
    sources = [
        {"role": role, **source}
        for role in ROLES[loaded.kind]
        for source in record.read_json(job.folder("download") / role / "sources.json")
    ]
    shape = {
        **model.config.model_dump(mode="json"),
        "vocab_size": loaded.tokenizer.n_vocab,
        "parameters": parameters,
        "dtype": params.export.dtype,
        "labels": loaded.labels,
        "max_length": loaded.max_length,
    }
    # Hashed before the card, which lists them and cannot list itself.
    files = {p.name: record.sha256_file(p) for p in record.files_under(folder)}
    figures = record.read_json(stage / "metrics.json")
    published = f"{job.stage.out}/model"
    text = card.render(published, job.variant, loaded.kind, shape, sources, figures, files)
    record.write_bytes(folder / "README.md", text.encode())
    metrics = {"architecture": called, "parameters": parameters, "files": files}
    record.write_json(job.out / "metrics.json", metrics)
    job.say(f"{called}, {parameters:,} parameters")


def write(folder: Path, loaded: Checkpoint[AnyModel], dtype: Dtype = "float32") -> None:
    """Weights, config, tokenizer, and of a language model how it generates; the form must be one
    that transformers has.
    """
    architecture, end = huggingface.fitting(loaded.model.config), loaded.tokenizer.end_of_text
    assert architecture is not None, "asked before"
    assert not isinstance(loaded.model, ScoreModel), "transformers has no judge of ours"
    classifier = loaded.labels is not None
    ends = [end, *sorted(loaded.tokenizer.ends - {end})]
    special = {
        "bos_token_id": end,
        "eos_token_id": ends if len(ends) > 1 else end,
        "pad_token_id": end,
    }
    huggingface.save(folder, loaded.model, architecture, special, dtype, loaded.labels)
    tokenizer_json.write(loaded.tokenizer, folder / "tokenizer.json", begin=classifier)
    record.write_json(folder / TOKENIZER_CONFIG, tokenizer_config(loaded))
    if not classifier:
        record.write_json(folder / "generation_config.json", {**special, "do_sample": False})


def tokenizer_config(loaded: Checkpoint[AnyModel]) -> dict[str, Any]:
    """What transformers wants to know beside `tokenizer.json`."""
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": loaded.model.config.block_size,
        "clean_up_tokenization_spaces": False,
        **dict.fromkeys(("bos_token", "eos_token", "pad_token"), loaded.tokenizer.end_name),
    }
    if loaded.labels is not None:
        settings |= {
            "model_max_length": loaded.max_length,
            "truncation_side": "left",
            "padding_side": "right",
            # `<|endoftext|>` in a message is text, so that the last token is never like padding
            "split_special_tokens": True,
        }
    template = loaded.template or loaded.weights_template
    return settings | ({"chat_template": template} if template else {})
