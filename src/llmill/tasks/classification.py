"""Messages with a label: the raw file, the prepared one, and what a classifier reads.

Raw: `label<TAB>text`, a row a line, without header or quoting.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from llmill.contract.errors import UserError
from llmill.tasks import jsonl
from llmill.text.tokenizer import Tokenizer

FORM = "a row is label<TAB>text"


@dataclass(frozen=True)
class Message:
    """A text and its class."""

    label: str
    text: str


def read_raw(path: Path) -> list[Message]:
    """Every row of a raw file; raises `UserError` for an unlabelled row or a single class."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run stage download again") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; convert it to UTF-8") from None
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    rows = [_message(line, f"{path}, row {number}") for number, line in enumerate(lines, 1)]
    labels = sorted({row.label for row in rows})
    if len(labels) < 2:
        raise UserError(f"{path}: every row is '{labels[0]}'; a classifier needs two classes")
    return rows


def _message(line: str, where: str) -> Message:
    label, tab, text = line.partition("\t")
    if not tab or not label.strip():
        raise UserError(f"{where}: no label in {line[:40]!r}; {FORM}")
    if not text.strip():
        raise UserError(f"{where}: no text after label '{label}'; {FORM}")
    return Message(label.strip(), text)


def read(path: Path) -> list[Message]:
    """Prepared messages."""
    return jsonl.read(path, Message)


def write(path: Path, messages: Iterable[Message]) -> None:
    """Write prepared messages."""
    jsonl.write(path, messages)


def encode(tokenizer: Tokenizer, text: str, max_length: int) -> list[int]:
    """What a classifier reads: <|endoftext|>, as before a document, and the text, of a longer one
    the end; at most `max_length` tokens.
    """
    tokens = tokenizer.encode(text)
    return [tokenizer.end_of_text, *tokens[max(0, len(tokens) + 1 - max_length) :]]
