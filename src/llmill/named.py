"""A model by its name: a stage that made it, a checkpoint's folder, or one of Hugging Face's.

So `chat`, `serve` and `classify-text` find what they work with.
"""

from dataclasses import dataclass
from pathlib import Path

from llmill.contract import params, record
from llmill.contract.errors import UserError
from llmill.contract.model_folder import CONFIG, is_ours
from llmill.contract.runtime import NUMBER_TYPES
from llmill.contract.schema import FromInit
from llmill.contract.values import Dtype
from llmill.model import checkpoint, initial
from llmill.model.transformer import Transformer
from llmill.stages.instruct import prompt_ids
from llmill.tasks import prompt
from llmill.tasks.instruction import Instruction
from llmill.text import imported
from llmill.text.tokenizer import Tokenizer

ASSISTANT = "instruct"


@dataclass(frozen=True)
class LanguageModel:
    """A model that writes, its tokenizer, and whether it was taught to answer instructions."""

    model: Transformer
    tokenizer: Tokenizer
    assistant: bool

    def completed(self, text: str) -> list[int]:
        """What is read of a text that goes on: a document begins after <|endoftext|>."""
        return [self.tokenizer.end_of_text, *self.tokenizer.encode(text)]

    def instructed(self, text: str) -> list[int]:
        """What is read of an instruction: the prompt that the assistant was trained with."""
        return prompt_ids(self.tokenizer, Instruction(text, "", ""))


def language_model(name: str, dtype: Dtype = "float32") -> LanguageModel:
    """That of a stage, or of a folder, with weights of this number type; raises `UserError` for
    others.
    """
    folder = located(name)
    if is_ours(folder):
        loaded = checkpoint.load_language_model(folder)
        model, tokenizer = loaded.model, loaded.tokenizer
        assistant = folder.resolve().parent.name == ASSISTANT
    else:
        tokenizer = imported.read(folder)
        shape = initial.shape(FromInit(shape="init"), folder)
        model = initial.load(folder, shape, tokenizer.n_vocab)
        assistant = _answers(folder)
    return LanguageModel(model.to(NUMBER_TYPES[dtype]), tokenizer, assistant)


def located(name: str) -> Path:
    """The checkpoint's folder of a stage, of a stage's variant (`classify/all`), or this folder."""
    for folder in (Path(name), Path(name, "checkpoint")):
        if (folder / CONFIG).exists():
            return folder
    made = Path(getattr(params.load().paths, name), "checkpoint")
    if (made / CONFIG).exists():
        return made
    raise UserError(
        f"{made}: no checkpoint; name a stage that was made (`dvc repro` makes all), "
        "a variant as classify/all, or a model's folder"
    )


def _answers(folder: Path) -> bool:
    """Whether a folder of Hugging Face's was taught the prompt that our assistants know, as what
    stage `export` writes of one says.
    """
    config = folder / "tokenizer_config.json"
    given = record.read_object(config).get("chat_template") if config.exists() else None
    return given == prompt.CHAT_TEMPLATE
