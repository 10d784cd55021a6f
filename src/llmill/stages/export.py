"""Write a model as transformers loads it, with `from_pretrained` and without our code.

    python -m llmill export instruct

In: the checkpoint of the named stage, its figures, and where its data came from. Out: the folder
`model/`: weights, config, tokenizer, for a language model generation settings, for the assistant a
chat template, and a model card; `gguf/`, where it is asked for: the same for llama.cpp and Ollama;
`adapter/`, where it is asked for and one was learnt: that alone, as peft loads it; and
`metrics.json`. Of a form that transformers does not have: `metrics.json` alone.

What a language model became is then loaded by every program that is installed, which must go on as
llmill does.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llmill.contract import record
from llmill.contract.known import SOURCES
from llmill.contract.model_folder import TOKENIZER_CONFIG
from llmill.contract.runtime import NUMBER_TYPES
from llmill.contract.values import Dtype, GgufNumbers, Section
from llmill.evaluation.inference import parity
from llmill.model import checkpoint, gguf_out, huggingface, peft_out
from llmill.model.checkpoint import AnyModel, Checkpoint
from llmill.model.heads import ClassModel, ScoreModel
from llmill.model.transformer import Transformer
from llmill.report import card
from llmill.stages.settings.export import Export
from llmill.tasks import ollama
from llmill.tasks.conversation import message
from llmill.text.tokenization import tokenizer_json
from llmill.text.tokenization.template import Template
from llmill.text.tokenization.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llmill.contract.job import Job

GGUF_FOLDER, ADAPTER_FOLDER = "gguf", "adapter"
NO_ROOM = "not tried: the context has no room for an answer"
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
    reads_otherwise = isinstance(model, ClassModel) and (model.reads != "last" or model.both_ways)
    if architecture is None or called is None or reads_otherwise:
        lacking = "has no architecture with these switches of `model`"
        if architecture is not None and called is None:
            lacking = f"has no classifier of the architecture {architecture.model_type}"
        elif architecture is not None:
            kind = architecture.model_type
            lacking = f"supports only causal {kind} classifiers that read the last token"
        job.say(f"not exported: transformers {lacking}")
        # No error: what transformers lacks must not stop the chain.
        nothing: dict[str, Any] = {"architecture": None, "parameters": parameters, "files": {}}
        record.write_json(job.out / "metrics.json", nothing)
        return
    folder = job.out / "model"
    write(folder, loaded, params.export.dtype)
    roles = ROLES[loaded.kind] + (("preference",) if job.variant == "prefer" else ())
    sources = [
        {"role": role, **source}
        for role in roles
        for source in record.read_json(job.folder("download") / role / SOURCES)
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
    checked: dict[str, Any] = {}
    if isinstance(model, Transformer):
        language = cast(Checkpoint[Transformer], loaded)
        checked = prove(folder, language, params.export.dtype, job)
        checked |= gguf(job.out / GGUF_FOLDER, language, params.export, job)
        adapter(job.out / ADAPTER_FOLDER, language, params.export, job)
    figures = record.read_json(stage / "metrics.json")
    published = f"{job.stage.out}/model"
    text = card.render(published, job.variant, loaded.kind, shape, sources, figures, files)
    record.write_bytes(folder / "README.md", text.encode())
    metrics = {
        "architecture": called,
        "parameters": parameters,
        "files": files,
        **({"checked": checked} if checked else {}),
    }
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


def gguf(
    folder: Path, loaded: Checkpoint[Transformer], settings: Export, job: Job
) -> dict[str, Any]:
    """Write the files for llama.cpp and Ollama that are asked for; what llama.cpp made of each."""
    if not settings.ggufs:
        return {}
    reason = gguf_out.lacking(loaded.model, loaded.tokenizer)
    if reason is not None:
        job.say(f"no GGUF: {reason}")
        return {}
    template, context = loaded.chat_template, loaded.model.config.block_size
    begins = template is None or _begins(template, loaded.tokenizer)
    said = gguf_out.Said(f"llmill {job.variant}", template, begins)
    checked: dict[str, Any] = {}
    for name, numbers in settings.ggufs.items():
        gguf_out.save(folder / name, loaded.model, loaded.tokenizer, said, numbers)
        checked[f"llama.cpp {numbers}"] = _prove_gguf(folder / name, loaded, numbers, job)
    text = ollama.modelfile(next(iter(settings.ggufs)), template, loaded.tokenizer, context)
    record.write_bytes(folder / "Modelfile", text.encode())
    return checked


def adapter(folder: Path, loaded: Checkpoint[Transformer], settings: Export, job: Job) -> None:
    """Write the adapter alone, where one was learnt and peft's form is asked for."""
    if settings.adapter != "peft" or loaded.adapter is None:
        return
    config, architecture = loaded.model.config, huggingface.fitting(loaded.model.config)
    assert architecture is not None, "asked before"
    reason = peft_out.lacking(architecture, config)
    if reason is not None:
        job.say(f"no adapter by itself: {reason}")
        return
    # Where this stage puts the model that the adapter was learnt on.
    foundation = checkpoint.read_config(loaded.adapter.foundation).made_by or "pretrain"
    base = job.folder(f"export/{foundation.replace('@', '/')}") / "model"
    peft_out.save(folder, loaded.adapter, config, architecture, base.as_posix(), settings.dtype)


def _begins(template: str, tokenizer: Tokenizer) -> bool:
    """Whether a prompt begins with the token that ends a text, as a document does."""
    prompt = Template(template, tokenizer).prompt([message("user", "")])
    return prompt[:1] == [tokenizer.end_of_text]


def prove(folder: Path, loaded: Checkpoint[Transformer], dtype: Dtype, job: Job) -> dict[str, Any]:
    """What transformers makes of the folder; raises `UserError` where llmill does otherwise."""
    if not parity.installed("transformers"):
        return {"transformers": _not_tried("transformers", job)}
    question = parity.question(loaded)
    if question is None:
        return {"transformers": NO_ROOM}
    answer = parity.by_transformers(folder, question)
    ours = parity.rounded(loaded.model, lambda _, tensor: tensor.to(NUMBER_TYPES[dtype]).float())
    figures = parity.compare(ours, question, answer, parity.FLOAT32, "transformers")
    return {"transformers": _said("transformers", figures, job)}


def _prove_gguf(
    file: Path, loaded: Checkpoint[Transformer], numbers: GgufNumbers, job: Job
) -> parity.Figures | str:
    if not parity.installed("xllamacpp"):
        return _not_tried("xllamacpp", job)
    question = parity.question(loaded)
    if question is None:
        return NO_ROOM
    answer = parity.by_llama_cpp(file, question)
    ours = parity.rounded(loaded.model, partial(gguf_out.rounded, numbers=numbers))
    nearness = parity.NEARNESS[numbers]
    figures = parity.compare(ours, question, answer, nearness, f"llama.cpp {numbers}")
    return _said(f"llama.cpp {numbers}", figures, job)


def _not_tried(package: str, job: Job) -> str:
    job.say(f"not tried: {package} is not installed, so nothing loaded what was written")
    return "not tried"


def _said(who: str, figures: parity.Figures, job: Job) -> parity.Figures:
    same, tokens = figures["same"], figures["tokens"]
    near = "" if same == tokens else "; the others differ only by rounding"
    job.say(f"{who} loads it: {same} of {tokens} greedy tokens are llmill's{near}")
    return figures


def tokenizer_config(loaded: Checkpoint[AnyModel]) -> dict[str, Any]:
    """What transformers wants to know beside `tokenizer.json`."""
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": loaded.model.config.block_size,
        "clean_up_tokenization_spaces": False,
        "padding_side": "left",  # `generate` goes on at the right
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
    template = loaded.chat_template
    return settings | ({"chat_template": template} if template else {})
