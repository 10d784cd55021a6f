"""Parameters of stage `download`."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from llmill.contract.elsewhere import is_below
from llmill.contract.known import SOURCES
from llmill.contract.model_folder import GGUF
from llmill.contract.values import Column, Columns, Line, Names, Retries, Seconds, Section
from llmill.text.files import endings, table_endings
from llmill.text.settings import TextFormat
from llmill.world.settings import World

OWN = "own"  # the folder of own files, on which the stage depends
SINGLE = (
    "classification",
    "instruction",
    "preference",
    "mmlu",
    "tokenizer",
    "init",
)  # roles with one source, except instructions, which may have several
MOST_CHOICES = 10
NAMED = "Name"  # the tag of a source that is given by its name


def _own(path: str) -> str:
    if not is_below(path) or PurePosixPath(path).parts[:1] != (OWN,) or path == OWN:
        raise ValueError(f"a file of one's own lies in {OWN}/, where both commands see its edits")
    name = PurePosixPath(path).name
    if name.startswith(".") or name == SOURCES:
        raise ValueError(f"a file of one's own cannot be called {name}; rename it")
    return path


def _refuse_one_name(files: list[str], which: str) -> None:
    """Raise `ValueError` if files share a name, because they are copied into one folder."""
    names = [PurePosixPath(file).name for file in files]
    if len(set(names)) < len(names):
        raise ValueError(f"{which} are both called {names[0]}; rename one")


OwnPath = Annotated[Line, AfterValidator(_own)]


class OwnFile(Section):
    """A file in `own/`. Its source name is the file name without endings. `encoding` is Python's
    name of the encoding, if the text is not Unicode.
    """

    file: OwnPath
    encoding: Line | None = None

    @property
    def files(self) -> list[str]:
        """All files that the entry names."""
        return [self.file]

    @property
    def name(self) -> str:
        return endings.without(self.file)


class OwnTable(OwnFile):
    """A table of texts with labels. A column is given by its name, or by its number (from 1) if the
    table has no header.
    """

    text: Columns  # several columns are joined by a newline
    label: Column
    split: Column | None = None  # train, validate or test; without it, splits are drawn
    test: OwnPath | None = None  # another file of the same form as the test split
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    quotes: bool = True  # false: quotation marks are plain text

    @property
    def files(self) -> list[str]:
        return [self.file, *([self.test] if self.test else [])]

    @property
    def columns(self) -> list[str | int]:
        """All columns that the entry names."""
        return [*self.text, self.label, *([] if self.split is None else [self.split])]

    @model_validator(mode="after")
    def columns_agree(self) -> Self:
        if len({type(column) for column in self.columns}) > 1:
            raise ValueError("columns are given by name, or all by number")
        if self.split is not None and self.test is not None:
            raise ValueError("give `split`, a column, or `test`, a file, but not both")
        _refuse_one_name(self.files, "file and test")
        return self


class OwnQuestions(OwnFile):
    """A table of multiple-choice questions. A column that is not given has its usual name
    (`question`, `A` to `J` or `choices`, `answer`, `subject`). A table without a header, like
    MMLU's, also works.
    """

    question: Line | None = None
    choices: Names | None = None  # one column per choice, or a single column of lists
    answer: Line | None = None
    subject: Line | None = None
    dev: OwnPath | None = None  # another file of the same form, for worked examples; or drawn

    @property
    def files(self) -> list[str]:
        return [self.file, *([self.dev] if self.dev else [])]

    @field_validator("file", "dev")
    @classmethod
    def file_is_a_table(cls, file: str | None) -> str | None:
        if file is not None and PurePosixPath(file).suffix not in table_endings.QUESTIONS:
            raise ValueError(f"a table of questions ends in {', '.join(table_endings.QUESTIONS)}")
        return file

    @field_validator("choices")
    @classmethod
    def choices_are_few(cls, choices: list[str] | None) -> list[str] | None:
        if choices is not None and len(choices) > MOST_CHOICES:
            raise ValueError(f"a question has up to {MOST_CHOICES} choices")
        return choices

    @model_validator(mode="after")
    def files_differ(self) -> Self:
        _refuse_one_name(self.files, "file and dev")
        return self


class OwnText(OwnFile):
    """A file of training text."""

    format: TextFormat = "prose"
    column: Line | None = None  # the column of the text in rows, if not `text`

    @field_validator("file")
    @classmethod
    def file_is_text(cls, file: str) -> str:
        if endings.of(file) is None:
            raise ValueError(f"text ends in {', '.join(endings.TEXT)}")
        return file


def _kind(value: Any, own: type[OwnFile]) -> str:
    return own.__name__ if isinstance(value, dict | own) else NAMED


def _table_or_name(value: Any) -> str:
    return _kind(value, OwnTable)


def _text_or_name(value: Any) -> str:
    return _kind(value, OwnText)


def _questions_or_name(value: Any) -> str:
    return _kind(value, OwnQuestions)


def _file_or_name(value: Any) -> str:
    return _kind(value, OwnFile)


Name = Annotated[Line, Tag(NAMED)]
LabelledTable = Annotated[
    Name | Annotated[OwnTable, Tag("OwnTable")], Discriminator(_table_or_name)
]
Readable = Annotated[Name | Annotated[OwnText, Tag("OwnText")], Discriminator(_text_or_name)]
Tasks = Annotated[Name | Annotated[OwnFile, Tag("OwnFile")], Discriminator(_file_or_name)]
SeveralTasks = Annotated[  # a single one may be written without [ ]
    list[Tasks],
    Field(min_length=1),
    BeforeValidator(lambda value: value if isinstance(value, list) else [value]),
]
Asked = Annotated[
    Name | Annotated[OwnQuestions, Tag("OwnQuestions")], Discriminator(_questions_or_name)
]


class Download(Section):
    """Sources by role: a name in `sources.yaml`; `world`, or for text also `news`, which llmill
    generates; a file in `own/`; or null. `init`, the initial weights, may also be a folder (it must
    contain a `/`) or a GGUF file (known by its ending).
    """

    text: Annotated[list[Readable], Field(min_length=1)]
    classification: LabelledTable | None
    instruction: SeveralTasks | None
    preference: Tasks | None
    mmlu: Asked | None
    tokenizer: Line | None
    init: Line | None
    retries: Retries
    timeout: Seconds  # without receiving a byte
    at_once: Annotated[int, Field(ge=1, le=64)]  # parallel downloads of a source's files
    world: World

    @property
    def sources(self) -> list[tuple[str, str]]:
        """(role, name) of every named source, except a folder of weights."""
        pairs = ((role, each) for role, each in self._roles() if isinstance(each, str))
        return [(role, name) for role, name in pairs if name != self.init_folder]

    @property
    def own(self) -> list[tuple[str, OwnFile]]:
        """(role, entry) of every own file."""
        return [(role, each) for role, each in self._roles() if isinstance(each, OwnFile)]

    @property
    def text_names(self) -> list[str]:
        """The names of all text sources, including own files."""
        return _names(self.text)

    @property
    def instruction_names(self) -> list[str]:
        """The names of all sources of instructions, including own files."""
        return _names(self.instruction or [])

    def below(self, role: str, name: str) -> str:
        """Return the subfolder of a source in its role's folder; "" for the only source."""
        several = role == "instruction" and len(self.instruction or []) > 1
        return f"{name}/" if several else ""

    @property
    def init_folder(self) -> str | None:
        """The local folder or file that `init` names, or None."""
        here = self.init is not None and ("/" in self.init or self.init.endswith(GGUF))
        return self.init if here else None

    def _roles(self) -> Iterator[tuple[str, str | OwnFile]]:
        yield from (("text", each) for each in self.text)
        for role in SINGLE:
            named = getattr(self, role)
            several = named if isinstance(named, list) else [named]
            yield from ((role, each) for each in several if each is not None)


def _names(sources: Sequence[str | OwnFile]) -> list[str]:
    return [each.name if isinstance(each, OwnFile) else each for each in sources]
