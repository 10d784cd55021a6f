"""Export a model for transformers, which loads it with `from_pretrained` and without llmill.

    python -m llmill export instruct

Input: the checkpoint of the named stage, its metrics, and the sources of its data. Output: the
folder `model/` with weights, config, tokenizer and model card, for a language model also generation
settings, and for an assistant also a chat template; optionally `gguf/`, the same for llama.cpp and
Ollama; optionally `adapter/`, a trained adapter alone, for peft; and `metrics.json`. If
transformers does not support the architecture, only `metrics.json` is written.

For a language model, the stage then generates with every installed program that loads the export,
and compares the tokens with llmill's.
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
ROLES: dict[checkpoint.Kind, tuple[str, ...]] = {  # of the data that a model is made from
    "foundation": ("init", "text"),
    "assistant": ("init", "text", "instruction"),
    "classifier": ("init", "text", "classification"),
}


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    export: Export


def run(params: Parameters, job: Job) -> None:
    """Convert the checkpoint. In float32 the values of its weights stay the same."""
    assert job.variant is not None, "a matrix stage"
    loaded = checkpoint.load(job.folder(job.variant) / "checkpoint")
    parameters = sum(p.numel() for p in loaded.model.parameters())
    reason = lacking(loaded)
    if reason is not None:
        # Not an error: the limits of transformers must not stop the chain.
        job.say(f"not exported: transformers {reason}")
        nothing: dict[str, Any] = {"architecture": None, "parameters": parameters, "files": {}}
        record.write_json(job.out / "metrics.json", nothing)
        return
    folder = job.out / "model"
    write(folder, loaded, params.export.dtype)
    # Hash the files before writing the card, which lists them but not itself.
    files = {p.name: record.sha256_file(p) for p in record.files_under(folder)}
    checked: dict[str, Any] = {}
    # Other programs load what was written, or a user would be the first to notice a mistake.
    if isinstance(loaded.model, Transformer):
        language = cast(Checkpoint[Transformer], loaded)
        checked = prove(folder, language, params.export.dtype, job)
        checked |= gguf(job.out / GGUF_FOLDER, language, params.export, job)
        adapter(job.out / ADAPTER_FOLDER, language, params.export, job)
    shape = described(loaded, parameters, params.export.dtype)
    write_card(folder / "README.md", shape, loaded.kind, files, job)
    metrics = {
        "architecture": called(loaded),
        "parameters": parameters,
        "files": files,
        **({"checked": checked} if checked else {}),
    }
    record.write_json(job.out / "metrics.json", metrics)
    job.say(f"{metrics['architecture']}, {parameters:,} parameters")


def lacking(loaded: Checkpoint[AnyModel]) -> str | None:
    """Return what transformers lacks for the model, as the end of a sentence; None for nothing."""
    model, architecture = loaded.model, huggingface.fitting(loaded.model.config)
    if architecture is None:
        return "has no architecture with these switches of `model`"
    if called(loaded) is None:
        return f"has no classifier of the architecture {architecture.model_type}"
    if isinstance(model, ClassModel) and (model.reads != "last" or model.both_ways):
        kind = architecture.model_type
        return f"supports only causal {kind} classifiers that read the last token"
    return None


def called(loaded: Checkpoint[AnyModel]) -> str | None:
    """Return the name of the model's class in transformers, or None if there is no such class."""
    architecture = huggingface.fitting(loaded.model.config)
    if architecture is None:
        return None
    return architecture.called(classifier=loaded.labels is not None)


def described(loaded: Checkpoint[AnyModel], parameters: int, dtype: Dtype) -> dict[str, Any]:
    """Return what the model card says of the model's shape."""
    return {
        **loaded.model.config.model_dump(mode="json"),
        "vocab_size": loaded.tokenizer.n_vocab,
        "parameters": parameters,
        "dtype": dtype,
        "labels": loaded.labels,
        "max_length": loaded.max_length,
    }


def write_card(
    file: Path, shape: dict[str, Any], kind: checkpoint.Kind, files: dict[str, str], job: Job
) -> None:
    """Write the model card. `files` are the sha256 of the exported files."""
    assert job.variant is not None, "a matrix stage"
    # The card names every source, because its licence may bind whoever uses the model.
    roles = ROLES[kind] + (("preference",) if job.variant == "prefer" else ())
    sources = [
        {"role": role, **source}
        for role in roles
        for source in record.read_json(job.folder("download") / role / SOURCES)
    ]
    figures = record.read_json(job.folder(job.variant) / "metrics.json")
    published = f"{job.stage.out}/model"
    text = card.render(published, job.variant, kind, shape, sources, figures, files)
    record.write_bytes(file, text.encode())


def write(folder: Path, loaded: Checkpoint[AnyModel], dtype: Dtype = "float32") -> None:
    """Write weights, config and tokenizer, and for a language model its generation settings.
    transformers must support the architecture.
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
    """Write the requested files for llama.cpp and Ollama; return the result of each check."""
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
    """Write the adapter alone, if the model has one and the parameter `adapter` is peft."""
    if settings.adapter != "peft" or loaded.adapter is None:
        return
    config, architecture = loaded.model.config, huggingface.fitting(loaded.model.config)
    assert architecture is not None, "asked before"
    reason = peft_out.lacking(architecture, config)
    if reason is not None:
        job.say(f"no adapter by itself: {reason}")
        return
    # The folder to which this stage exports the adapter's base model.
    foundation = checkpoint.read_config(loaded.adapter.foundation).made_by or "pretrain"
    base = job.folder(f"export/{foundation.replace('@', '/')}") / "model"
    peft_out.save(folder, loaded.adapter, config, architecture, base.as_posix(), settings.dtype)


def _begins(template: str, tokenizer: Tokenizer) -> bool:
    """Return whether a prompt begins with the end-of-text token, as a document does."""
    prompt = Template(template, tokenizer).prompt([message("user", "")])
    return prompt[:1] == [tokenizer.end_of_text]


def prove(folder: Path, loaded: Checkpoint[Transformer], dtype: Dtype, job: Job) -> dict[str, Any]:
    """Check the folder with transformers. Raise `UserError` if it differs from llmill."""
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
) -> parity.TokenCounts | str:
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


def _said(who: str, figures: parity.TokenCounts, job: Job) -> parity.TokenCounts:
    same, tokens = figures["same"], figures["tokens"]
    near = "" if same == tokens else "; the others differ only by rounding"
    job.say(f"{who} loads it: {same} of {tokens} greedy tokens are llmill's{near}")
    return figures


def tokenizer_config(loaded: Checkpoint[AnyModel]) -> dict[str, Any]:
    """Return the tokenizer settings that transformers needs besides `tokenizer.json`."""
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": loaded.model.config.block_size,
        "clean_up_tokenization_spaces": False,
        "padding_side": "left",  # `generate` continues on the right
        **dict.fromkeys(("bos_token", "eos_token", "pad_token"), loaded.tokenizer.end_name),
    }
    if loaded.labels is not None:
        settings |= {
            "model_max_length": loaded.max_length,
            "truncation_side": "left",
            "padding_side": "right",
            # encode `<|endoftext|>` in a message as text, so the last token never equals padding
            "split_special_tokens": True,
        }
    template = loaded.chat_template
    return settings | ({"chat_template": template} if template else {})
