"""Open a model by its name: a stage that made it, a checkpoint's folder, a Hugging Face folder, or
a GGUF file.

`chat` and `serve` find their models this way, and `classify-text` its folder.
"""

import contextlib
import difflib
from dataclasses import dataclass, replace
from pathlib import Path

from llmill.contract import elsewhere, pipeline, skipped, source
from llmill.contract.errors import UserError
from llmill.contract.model_folder import CONFIG, form, gguf_file, is_ours
from llmill.contract.runtime import NUMBER_TYPES
from llmill.contract.weight_types import WeightType
from llmill.model import checkpoint, initial
from llmill.model.int8 import in_int8
from llmill.model.transformer import Transformer
from llmill.model.weights_folder import opened
from llmill.runner import params
from llmill.text.tokenization import model_tokenizer
from llmill.text.tokenization.template import Template
from llmill.text.tokenization.tokenizer import Tokenizer

CLASSIFIER = "ForSequenceClassification"


@dataclass(frozen=True)
class LanguageModel:
    """A model that writes, its tokenizer, and the template of messages if it was taught to answer
    them.
    """

    model: Transformer
    tokenizer: Tokenizer
    template: Template | None = None
    begins: int | None = None  # the token that a text begins after, if not <|endoftext|>

    @property
    def assistant(self) -> bool:
        """Whether it answers messages."""
        return self.template is not None

    def completed(self, text: str) -> list[int]:
        """Return the ids of a text to be continued: a document begins after <|endoftext|>."""
        end = self.tokenizer.end_of_text
        return [end if self.begins is None else self.begins, *self.tokenizer.encode(text)]


def language_model(
    name: str, dtype: WeightType = "float32", shared: checkpoint.Shared | None = None
) -> LanguageModel:
    """Return the language model of a stage or a folder, with weights of this number type. Raises
    `UserError` for any other model. Adapters that are opened with the same `shared` have one
    foundation in memory; in int8 each adapter is merged on its own.
    """
    folder = located(name)
    if dtype == "int8":
        shared = None
    language = _ours(folder, shared) if of_ours(folder) else _published(folder)
    if dtype != "int8":
        return replace(language, model=language.model.to(NUMBER_TYPES[dtype]))
    try:
        return replace(language, model=in_int8(language.model))
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None


def of_ours(folder: Path) -> bool:
    """Return whether a model's folder is llmill's own checkpoint, even without its tokenizer."""
    if is_ours(folder) or form(folder) == "gguf":
        return is_ours(folder)
    return "model" in elsewhere.read_object(folder / CONFIG)


def located(name: str) -> Path:
    """Return the checkpoint's folder of a stage or of a stage's variant (`classify/all`), or the
    named folder or GGUF file itself.
    """
    try:
        for folder in (Path(name), Path(name, "checkpoint")):
            if (folder / CONFIG).exists() or gguf_file(folder):
                return folder
    except OSError as error:  # the name is too long
        raise UserError(f"{name[:40]}...: not a model's name ({error.strerror})") from None
    if Path(name).is_absolute() or Path(name).is_dir():
        raise UserError(f"{name}: no model's folder, for it has no {CONFIG}")
    if not params.FILE.exists():
        what = "not a model" if Path(name).exists() else "no such folder or file"
        todo = source.in_root("name a model's folder, or work in the root of the repository")
        raise UserError(f"{name}: {what}, and there are no stages here; {todo}")
    stages = params.stages(params.load())
    try:
        checkpoint = pipeline.folder(stages, name) / "checkpoint"
    except UserError:
        raise UserError(f"{name}: no model's folder or file, {_others(name, stages)}") from None
    if (checkpoint / CONFIG).exists():
        return checkpoint
    if reason := skipped.reason(checkpoint.parent):
        raise UserError(f"{name}: the stage was skipped: {reason}")
    raise UserError(
        f"{checkpoint}: no checkpoint; name a stage that was made (`dvc repro` makes all), "
        "a variant as classify/all, or a model's folder"
    )


def _others(name: str, stages: dict[str, pipeline.Stage]) -> str:
    """Return in words which stage may be meant, or which stages have made a model."""
    by_name = {address.replace("@", "/"): stage for address, stage in stages.items()}
    if near := difflib.get_close_matches(name, by_name, n=1):
        return f"and no stage; did you mean {near[0]}?"
    made = [n for n, s in by_name.items() if Path(s.out, "checkpoint", CONFIG).exists()]
    return f"and no stage that made one: {', '.join(made) or 'none has yet, `dvc repro` does'}"


def _ours(folder: Path, shared: checkpoint.Shared | None) -> LanguageModel:
    loaded = checkpoint.load_language_model(folder, shared)
    template = _opened(loaded.template, loaded.tokenizer, folder)
    return LanguageModel(loaded.model, loaded.tokenizer, template)


def _published(place: Path) -> LanguageModel:
    """Return a Hugging Face or GGUF model. It is an assistant if it has a chat template."""
    if form(place) == "huggingface":
        _refuse_classifier(place)
    tokenizer = model_tokenizer.read(place)
    source = opened(place)
    model = initial.load(place, source.shape, tokenizer.n_vocab)
    begins = source.begins
    valid = begins is not None and 0 <= begins < tokenizer.n_vocab
    template = _opened(source.template, tokenizer, place)
    end = None
    with contextlib.suppress(UserError):  # a template for other conversations
        end = None if template is None else template.end()
    if end is not None and end not in tokenizer.ends:  # the end of a turn, whatever ends a text
        tokenizer = tokenizer.ending(end)
        template = _opened(source.template, tokenizer, place)
    return LanguageModel(model, tokenizer, template, begins if valid else None)


def _refuse_classifier(folder: Path) -> None:
    kinds = elsewhere.read_object(folder / CONFIG).get("architectures") or []
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        raise UserError(f"{folder / CONFIG}: architectures must be names in a list")
    if any(kind.endswith(CLASSIFIER) for kind in kinds):
        raise UserError(f"{folder}: {', '.join(kinds)}: no language model")


def _opened(source: str | None, tokenizer: Tokenizer, folder: Path) -> Template | None:
    if source is None:
        return None
    return Template(source, tokenizer, f"{folder}: the chat template")
