"""Finds the form of a file and prints its description, then the lines of `params.yaml`."""

import filecmp
import shlex
from itertools import chain, count
from pathlib import Path

from llmill.contract import printable
from llmill.contract.errors import SettingError, UserError
from llmill.new_data import dialogues, questions, table, texts
from llmill.new_data.finding import Finding, flow
from llmill.stages.settings.download import OWN
from llmill.text.files import endings, table_endings

TEXTS = (".txt", ".md")  # besides rows of text, which are recognized by their columns
ENDINGS = (*(end for end in table_endings.TABLES if end not in TEXTS), *TEXTS)
UNPACK = {".gz": "gunzip", ".zst": "unzstd", ".zip": "unzip", ".bz2": "bunzip2", ".xz": "unxz"}


def print_report(path: Path, encoding: str | None = None, delimiter: str | None = None) -> None:
    """Print what the file is, then the lines. Raises `UserError` if no stage can read it."""
    _refuse_unreadable(path)
    if delimiter is not None:
        delimiter = _character(delimiter)
    own = path if path.parts[:1] == (OWN,) else _free(Path(OWN, path.name), path)
    try:
        finding = _finding(path, own, encoding, delimiter)
    except SettingError as error:
        raise UserError(error.for_command()) from None
    for line in finding.lines:
        print(printable.line(line))
    value = flow(finding.value)
    print()
    if own != path:
        print(f"mkdir -p {OWN} && cp {shlex.quote(str(path))} {shlex.quote(str(own))}")
    print(f"Below download, in params.yaml:\n  {finding.role}: {value}")
    print("or: llmill preset --set " + shlex.quote(f"download.{finding.role}={value}"))


def _refuse_unreadable(path: Path) -> None:
    """Raise `UserError` for what is no file, is empty, or has an ending that nothing reads."""
    if path.is_dir():
        raise UserError(
            f"{path}: a folder; name each of its files, or put texts into one .jsonl file, a row "
            '{"text": "..."} each'
        )
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    ending = path.suffix
    if ending not in ENDINGS and endings.of(path.name) is None:
        if ending in UNPACK:
            raise UserError(f"{path}: packed; unpack it first ({UNPACK[ending]})")
        if ending.lower() in ENDINGS:
            right = path.with_suffix(ending.lower()).name
            raise UserError(f"{path}: llmill reads endings in lower case; rename it to {right}")
        raise UserError(
            f"{path}: its ending is none of {', '.join(ENDINGS)} (.txt, .md, .jsonl and .ndjson "
            "also as .gz or .zst); export it as one of them"
        )
    if path.stat().st_size == 0:
        raise UserError(f"{path}: an empty file")


def _finding(path: Path, own: Path, encoding: str | None, delimiter: str | None) -> Finding:
    """Return the finding of the first form that fits."""
    source = {"file": str(own)} | ({"encoding": encoding} if encoding else {})
    if endings.of(path.name) in TEXTS:
        return texts.prose(path, source)
    if endings.packing(path.name):
        return texts.documents(path, source)
    return (
        dialogues.pairs(path, source)
        or dialogues.tasks(path, source)
        or questions.questions(path, source)
        or table.table(path, own, encoding, delimiter)
    )


def _free(own: Path, path: Path) -> Path:
    """Return a place for a copy that overwrites no file, or that of an existing copy."""
    stem, dot, ending = own.name.partition(".")
    places = (own.with_name(f"{stem}-{n}{dot}{ending}") for n in count(2))
    return next(
        each
        for each in chain([own], places)
        if not each.exists() or filecmp.cmp(each, path, shallow=False)
    )


def _character(delimiter: str) -> str:
    """Return the character that separates columns; a tab may be written as \\t."""
    found = "\t" if delimiter == "\\t" else delimiter
    if len(found) != 1:
        raise UserError(f"--delimiter {delimiter!r}: a single character, e.g. ';' or '\\t'")
    return found
