"""Reads and checks `sources.yaml`, the only place that lists downloadable files.

Input: `sources.yaml` and the `download` section. Output: the sources by role. `pin` writes found
hashes into the file.
"""

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from llmill.contract import record, yaml_file
from llmill.contract.elsewhere import is_below
from llmill.contract.errors import UserError
from llmill.contract.known import NEWS, SOURCES, WORLD
from llmill.contract.model_folder import BPE, CONFIG, GGUF
from llmill.text.download import numbered
from llmill.text.files import encoding, endings, table_endings
from llmill.text.settings import TextFormat

FILE = Path("sources.yaml")
ROLES = ("text", "classification", "instruction", "preference", "mmlu", "tokenizer", "init")
SPLITS = ("dev", "val", "test")
CLASSIFICATION = "SMSSpamCollection"  # the name in later stages, whatever the file was called
TOKENIZER = {"encoder.json", "vocab.bpe"}
# File endings in a model's folder.
MODEL = (".json", ".safetensors", ".txt", ".bpe", ".tiktoken", ".jinja", GGUF)

SCHEMES = ("http", "https", "s3")
PACKAGED = ("package", "version", "file")
PACKAGE = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"  # names as in the registry
VERSION = r"^[A-Za-z0-9.!+_-]+$"

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]  # it becomes a folder
Text = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class TablePart(BaseModel):
    """A strict, frozen part of the table."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True)
class InPackage:
    """A file inside the wheel of a package of the Python registry."""

    package: str
    version: str
    file: str

    @property
    def requirement(self) -> str:
        """The requirement as pip takes it."""
        return f"{self.package}=={self.version}"

    @property
    def path(self) -> str:
        """Its place below LLMILL_MIRROR, if the table names none."""
        return f"{self.package}-{self.version}/{self.file}"


class File(TablePart):
    """One file: its place in a mirror, its size and hash, and its addresses or package."""

    path: Text
    bytes: Annotated[int, Field(gt=0)] | None
    sha256: Sha256 | None
    urls: Annotated[list[Text], Field(min_length=1)] = []
    package: Annotated[str, Field(pattern=PACKAGE)] | None = None
    version: Annotated[str, Field(pattern=VERSION)] | None = None
    file: Text | None = None  # inside the package's wheel
    title: str | None = None
    note: bool = False  # a readme or licence beside the data, read by no stage

    @property
    def name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(self.path).name

    @property
    def within(self) -> InPackage | None:
        """The package and the file in it, if the file comes from a package."""
        if self.package is None or self.version is None or self.file is None:
            return None
        return InPackage(self.package, self.version, self.file)

    @model_validator(mode="before")
    @classmethod
    def a_package_says_the_path(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or "path" in fields:
            return fields
        said = [name for n in PACKAGED if isinstance(name := fields.get(n), str)]
        return {**fields, "path": InPackage(*said).path} if len(said) == len(PACKAGED) else fields

    @model_validator(mode="after")
    def is_had_somewhere(self) -> Self:
        said = [name for name in PACKAGED if getattr(self, name) is not None]
        if said and len(said) < len(PACKAGED):
            missing = next(name for name in PACKAGED if name not in said)
            raise ValueError(f"package, version and file go together; {missing} is missing")
        if not said and not self.urls:
            raise ValueError("give urls, or package, version and file")
        return self

    @model_validator(mode="after")
    def stays_inside(self) -> Self:
        if not is_below(self.path):
            raise ValueError(f"path '{self.path}' must be relative, with / and without .. parts")
        for url in self.urls:
            scheme, separator, rest = url.partition("://")
            if separator and scheme.lower() not in SCHEMES:
                raise ValueError(f"url '{url}': allowed are {', '.join(SCHEMES)} and local paths")
            if scheme.lower() == "s3" and separator and not all(rest.partition("/")[::2]):
                raise ValueError(f"url '{url}': an object in S3 is s3://BUCKET/KEY")
        return self


class Source(TablePart):
    """A named set of files for one role."""

    name: Name
    title: Text
    role: Literal[
        "text", "classification", "instruction", "preference", "mmlu", "tokenizer", "init"
    ]
    format: TextFormat | None = None
    column: Text | None = None  # for rows: the column of the text, if not `text`
    encoding: Text | None = None  # for text that is neither UTF-8 nor UTF-16
    licence: Text
    files: Annotated[list[File], Field(min_length=1)]

    def place(self, file: File) -> str:
        """Return the place of a file, below the folder of the role."""
        if self.role == "text":
            return f"{self.name}/{file.name}"
        if file.note:
            return file.name
        parts = file.path.split("/")
        if self.role == "mmlu" or (self.role == "init" and parts[-2:-1] == [BPE]):
            return "/".join(parts[-2:])
        return CLASSIFICATION if self.role == "classification" else file.name

    @property
    def reading(self) -> dict[str, str]:
        """How the files are read, where the table says more than their names do."""
        said = {"format": self.format, "column": self.column, "encoding": self.encoding}
        return {key: value for key, value in said.items() if value is not None}

    @model_validator(mode="after")
    def suits_its_role(self) -> Self:
        if (self.role == "text") != (self.format is not None):
            raise ValueError(
                "role text needs a format, and only it: gutenberg, prose, paragraphs or documents"
            )
        if self.role != "text" and (self.column or self.encoding):
            raise ValueError("only role text takes `column` and `encoding`")
        if self.encoding:
            encoding.check(self.encoding, f"{FILE}: {self.name}.encoding")
        data = [file for file in self.files if not file.note]
        wrong = next((file.path for file in data if not _suits(self.role, file)), None)
        if wrong:
            raise ValueError(
                f"'{wrong}' does not suit role {self.role}, which takes {TAKES[self.role]}"
            )
        if self.role in ("classification", "instruction", "preference") and len(data) != 1:
            raise ValueError(f"role {self.role} takes one file of data, found {len(data)}")
        if self.role == "tokenizer" and {file.name for file in data} != TOKENIZER:
            raise ValueError(f"role tokenizer takes {TAKES['tokenizer']}, both of them")
        if self.role == "init" and not is_model([self.place(file) for file in data]):
            raise ValueError(
                f"role init takes {TAKES['init']}; {CONFIG} and weights are needed, or one {GGUF}"
            )
        readable = next((f.path for f in self.files if f.note and _suits(self.role, f)), None)
        if readable and self.role != "classification":
            raise ValueError(f"note '{readable}' would be read as data; give it another ending")
        places = Counter(self.place(file) for file in self.files)
        twice = next((place for place, times in places.items() if times > 1), None)
        if twice or SOURCES in places:
            raise ValueError(f"two files would be written to {self.role}/{twice or SOURCES}")
        return self


TAKES = {
    "text": ".txt, .md, .jsonl, .ndjson (each also .gz or .zst) and .parquet files",
    "classification": "one file of label<TAB>text rows",
    "instruction": "one .json, .jsonl, .ndjson or .parquet file",
    "preference": "one .json, .jsonl, .ndjson or .parquet file",
    "mmlu": ".csv, .tsv, .json, .jsonl, .ndjson and .parquet files in folders dev, val and test",
    "tokenizer": "encoder.json and vocab.bpe",
    "init": "a model's folder: config.json, .safetensors and its tokenizer's files, or one .gguf, "
    "never a pickle",
}


def is_model(places: list[str]) -> bool:
    """Return whether these files are a config and weights, or one file of both."""
    if CONFIG in places and any(place.endswith(".safetensors") for place in places):
        return True
    return sum(place.endswith(GGUF) for place in places) == 1


def _suits(role: str, file: File) -> bool:
    if role == "mmlu":
        parent = PurePosixPath(file.path).parent.name
        return file.name.endswith(table_endings.QUESTIONS) and parent in SPLITS
    if role == "tokenizer":
        return file.name in TOKENIZER
    if role == "init":
        return file.name.endswith(MODEL)
    if role == "text":
        return endings.of(file.name) is not None
    return role == "classification" or file.name.endswith(table_endings.ROWS)


def read(file: Path = FILE) -> dict[str, Source]:
    """Return every source by name. Raises `UserError` about the first thing that does not fit."""
    tree = yaml_file.load(file, f"`git checkout {file}` restores it")
    if not isinstance(tree, dict) or not tree:
        raise UserError(f"{file}: expected sources by name, found {type(tree).__name__}")
    return {str(name): _source(str(name), entry, file) for name, entry in tree.items()}


def _source(name: str, entry: Any, file: Path) -> Source:
    if not isinstance(entry, dict):
        raise UserError(f"{file}: {name}: expected title, role, licence and files")
    if name in (WORLD, NEWS):
        raise UserError(f"{file}: '{name}' is a built-in source; give this one another name")
    if "name" in entry:
        raise UserError(f"{file}: unknown field '{name}.name'; the name stands before the colon")
    numbers: list[int] = []  # number of each file's entry
    try:
        if isinstance(listed := entry.get("files"), list):
            files = list(numbered.files(listed))
            numbers = [number for number, _ in files]
            entry = {**entry, "files": [each for _, each in files]}
        return Source.model_validate({**entry, "name": name})
    except ValidationError as error:
        raise UserError(f"{file}: {_one_line(name, error, numbers)}") from None
    except ValueError as error:
        raise UserError(f"{file}: {name}.{error}") from None


def _one_line(name: str, error: ValidationError, numbers: list[int]) -> str:
    first = error.errors()[0]
    location = first["loc"]
    if location[:1] == ("files",) and isinstance(number := next(iter(location[1:]), None), int):
        location = ("files", numbers[number], *location[2:])
    where = ".".join([name, *(str(part) for part in location)])
    if first["type"] == "extra_forbidden":
        fields = list((File if len(location) > 1 else Source).model_fields)
        near = difflib.get_close_matches(str(location[-1]), fields, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(fields)}"
        return f"unknown field '{where}'; {hint}"
    if first["type"] == "missing":
        return f"missing field '{where}'"
    value = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
    return f"{where}{value}: {first['msg'].removeprefix('Value error, ')}"


def chosen(pairs: Sequence[tuple[str, str]], table: dict[str, Source]) -> list[tuple[str, Source]]:
    """Return the sources to download for these roles and names, as (role, source)."""
    return [(role, _find(role, name, table)) for role, name in pairs if name not in _built_in(role)]


def _built_in(role: str) -> tuple[str, ...]:
    """Return the sources of a role that are generated and therefore not in the table."""
    if role == "text":
        return WORLD, NEWS
    return () if role in ("tokenizer", "init") else (WORLD,)


def _find(role: str, name: str, table: dict[str, Source]) -> Source:
    suitable = [source.name for source in table.values() if source.role == role]
    where = f"params.yaml: download.{role} names '{name}'"
    if name in (WORLD, NEWS) and role == "init":
        raise UserError(f"{where}, which is text; a folder of weights has a /, as in models/world")
    if name not in table:
        near = difflib.get_close_matches(name, [*table, *_built_in(role)], n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"for {role} it has {', '.join(suitable)}"
        raise UserError(f"{where}, which is not in {FILE}; {hint}")
    if table[name].role != role:
        raise UserError(
            f"{where}, whose role in {FILE} is {table[name].role}; "
            f"for {role} it has {', '.join(suitable)}"
        )
    return table[name]


def got(table: dict[str, Source], download: Path) -> dict[str, tuple[int, str]]:
    """Return bytes and sha256 of the files that the finished stage `download` got, by their path in
    `sources.yaml`.
    """
    files: dict[str, tuple[int, str]] = {}
    for listed in sorted(download.glob(f"*/{SOURCES}")):
        for entry in record.read_json(listed):
            if entry["name"] in table:
                source = table[entry["name"]]
                have = {item["path"]: (item["bytes"], item["sha256"]) for item in entry["files"]}
                places = {file.path: source.place(file) for file in source.files}
                below = f"{source.name}/"  # if a role has several sources
                have |= {place.removeprefix(below): of for place, of in have.items()}
                files |= {path: have[place] for path, place in places.items() if place in have}
    return files


def pin(file: Path, files: dict[str, tuple[int, str]]) -> list[str]:
    """Write bytes and sha256 over the nulls of the files found, and return the paths pinned.

    A pattern gets a list. Everything else in the file stays as written.
    """
    text = file.read_bytes().decode()
    pinned, edits = [], []
    for path, values in _files(yaml.compose(text, Loader=yaml.SafeLoader)):
        nulls = {
            k: v for k, v in values.items() if k in ("bytes", "sha256") and v.tag.endswith(":null")
        }
        paths = numbered.names(path)
        if nulls and all(each in files for each in paths):
            sizes, hashes = zip(*(files[each] for each in paths), strict=True)
            pinned += paths
            for key, node in nulls.items():
                found = [str(each) for each in (sizes if key == "bytes" else hashes)]
                several = numbered.RANGE.search(path) is not None
                edits.append((node, _listed(found, text, node) if several else found[0]))
    for node, value in sorted(edits, key=lambda edit: edit[0].start_mark.index, reverse=True):
        start, end = node.start_mark.index, node.end_mark.index
        text = text[:start] + (value if end > start else f" {value}") + text[end:]
    if pinned:
        record.write_bytes(file, text.encode())
    return pinned


def _listed(values: list[str], text: str, node: yaml.Node) -> str:
    """Format a list that replaces a null, one value per line."""
    before = text[: node.start_mark.index].rpartition("\n")[2]
    margin = " " * (len(before) - len(before.lstrip()) + 4)
    end = "\r\n" if "\r\n" in text else "\n"
    return f"[{end}{margin}" + f",{end}{margin}".join(values) + "]"


def _files(root: yaml.Node | None) -> Iterator[tuple[str, dict[str, yaml.Node]]]:
    """Yield each file's path and its fields as nodes, which know their place in the text."""
    for source in _fields(root).values():
        listed = _fields(source).get("files")
        for file in listed.value if isinstance(listed, yaml.SequenceNode) else []:
            fields = _fields(file)
            said = {
                k: node.value for k, node in fields.items() if isinstance(node, yaml.ScalarNode)
            }
            if "path" in said:
                yield said["path"], fields
            elif all(name in said for name in PACKAGED):
                yield InPackage(*(said[name] for name in PACKAGED)).path, fields


def _fields(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return (
        {key.value: value for key, value in node.value}
        if isinstance(node, yaml.MappingNode)
        else {}
    )
