"""`python -m llmill chat` and `classify-text`: try a model in the terminal.

A foundation model continues each text. The assistant reads each line as a user's message, after the
system message and as many of the earlier turns as fit into its context.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

from llmill import models
from llmill.contract import printable
from llmill.contract.errors import UserError
from llmill.contract.weight_types import WeightType
from llmill.evaluation import classification
from llmill.model import checkpoint
from llmill.model.generate import Choice, Writer
from llmill.model.heads import ClassModel
from llmill.models import LanguageModel
from llmill.tasks.conversation import Message, message
from llmill.text.tokenization.stream import TextStream

HELP = (
    "/reset forgets what was said, /system TEXT sets the system message, /settings shows and sets "
    "(/settings temperature 0.8), /quit ends"
)

NO_SYSTEM = "no assistant, so no system message; it goes on with each text"


@dataclass(frozen=True)
class Settings(Choice):
    """Settings of an answer; `Choice` says how each token is chosen."""

    max_new_tokens: int = 100
    seed: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_new_tokens < 1:
            raise ValueError("max_new_tokens must be 1 or more")
        if not -(2**63) <= self.seed < 2**63:
            raise ValueError("seed must be of 64 bits")

    def changed(self, name: str, value: str) -> "Settings":
        """Return the settings with one changed; `none` removes a limit. Raises `UserError` for a
        name that is not a setting, or an invalid value.
        """
        kinds = {each.name: each.type for each in fields(self)}
        if name not in kinds:
            raise UserError(f"no setting {name!r}; one of {', '.join(kinds)}")
        try:
            number: float | None
            if value.casefold() in ("none", "null") and getattr(Settings(), name) is None:
                number = None
            else:
                number = float(value) if kinds[name] in (float, float | None) else int(value)
        except ValueError:
            removes = "; `none` removes it" if getattr(Settings(), name) is None else ""
            raise UserError(f"{name} = {value!r}: not a number that it can be{removes}") from None
        change: dict[str, Any] = {name: number}
        try:
            return replace(self, **change)
        except ValueError as error:
            raise UserError(f"{name} = {value!r}: {error}") from None


@dataclass
class Talk:
    """A model and the conversation so far, with an assistant's system message in front."""

    language: LanguageModel
    writer: Writer
    settings: Settings
    system: str = ""
    said: list[Message] = field(default_factory=list)  # turns: the user's message, then the answer
    begin: int = 0  # where reading begins: the turns before it did not fit

    def answer(self, text: str) -> Iterator[str]:
        """Yield the answer piece by piece; it is remembered when it is complete or interrupted."""
        answer: list[int] = []
        assistant = self.language.assistant
        stream = TextStream(self.language.tokenizer.decode_bytes, strip=assistant)
        ids = self._ids(text)
        try:
            for token in self._tokens(ids):
                answer.append(token)
                yield stream.push(token)
            yield stream.close()
        finally:
            if assistant:
                written = self.language.tokenizer.decode(answer)
                self.said += [message("user", text), message("assistant", written)]

    def forget(self) -> None:
        """Forget the conversation."""
        self.said.clear()
        self.begin = 0

    def _ids(self, text: str) -> list[int]:
        """Return what is read before the answer. An assistant reads the latest turns that leave
        room for the answer in the context, or half of the context for a longer answer.
        """
        template = self.language.template
        if template is None:
            return self.language.completed(text)
        block = self.language.model.config.block_size
        room = block - min(self.settings.max_new_tokens, block // 2)
        system = [message("system", self.system)] if self.system else []
        for start in range(self.begin, len(self.said) + 1, 2):
            ids = template.prompt([*system, *self.said[start:], message("user", text)])
            if len(ids) <= room:
                break
        self.begin = start
        if len(ids) > block:
            raise UserError(
                f"the message takes {len(ids):,} tokens with the template, and the model reads "
                f"{block:,}; write a shorter one"
            )
        return ids

    def _tokens(self, ids: list[int]) -> Iterator[int]:
        number = self.writer.begin(ids, self.settings, self.settings.seed)
        try:
            for _ in range(self.settings.max_new_tokens):
                token = self.writer.step()[number].token
                if token in self.language.tokenizer.ends:
                    return
                yield token
        finally:
            self.writer.end(number)


def open_talk(
    name: str, settings: Settings, dtype: WeightType = "float32", system: str | None = None
) -> Talk:
    """Return a conversation with the model of this name. Raises `UserError` as `language_model`
    does, and for a system message if the model is not an assistant.
    """
    language = models.language_model(name, dtype)
    if system and not language.assistant:
        raise UserError(f"{name}: {NO_SYSTEM}")
    return Talk(language, Writer(language.model, expected=1), settings, system or "")


def converse(
    talk: Talk,
    lines: Iterable[str],
    write: Callable[[str], None],
    refuse: Callable[[UserError], None] | None = None,
) -> None:
    """Answer line by line until the lines end or one is `/quit`. In interactive use, Ctrl-C
    interrupts an answer, and `refuse` receives a template's error about a text that it does not
    accept; without `refuse`, both are raised.

    Control characters are escaped, also in a pipe: many a pipe ends at a terminal.
    """
    for line in lines:
        text = line.rstrip("\n")
        if text == "/quit":
            return
        if text.startswith("/"):
            write(printable.lines(_obeyed(talk, text.split())) + "\n")
        elif text:
            try:
                for piece in talk.answer(text):
                    write(printable.lines(piece))
            except KeyboardInterrupt:
                if refuse is None:
                    raise
                write(" ...")
            except UserError as error:
                if refuse is None:
                    raise
                refuse(error)
            write("\n")


def _obeyed(talk: Talk, words: list[str]) -> str:
    match words:
        case ["/reset"]:
            talk.forget()
            return "forgotten"
        case ["/system", *_] if not talk.language.assistant:
            return NO_SYSTEM
        case ["/system", *text]:
            talk.forget()
            talk.system = " ".join(text)
            return "the system message is set, what was said forgotten"
        case ["/settings"]:
            return ", ".join(f"{e.name} {_shown(talk.settings, e.name)}" for e in fields(Settings))
        case ["/settings", name, value]:
            try:
                talk.settings, talk.begin = talk.settings.changed(name, value), 0
            except UserError as error:
                return str(error)
            return f"{name} {_shown(talk.settings, name)}"
        case _:
            return HELP


def _shown(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    return "none" if value is None else str(value)


def guess(name: str, texts: Iterable[str]) -> list[tuple[str, float]]:
    """Return the label that a classifier gives each text, and its probability."""
    folder = models.located(name)
    if not models.of_ours(folder):
        raise UserError(f"{folder}: a Hugging Face model; use transformers' pipeline")
    loaded = checkpoint.load(folder)
    if not isinstance(loaded.model, ClassModel):
        raise UserError(f"{name}: not a classifier; name one, such as classify/all")
    return classification.predict(loaded, list(texts))
