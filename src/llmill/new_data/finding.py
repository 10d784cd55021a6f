"""What `new-data` says of a file: a finding, and the lines that all forms of data share."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from llmill.contract import pipeline, yaml_file
from llmill.contract.model_folder import BPE
from llmill.runner import params
from llmill.text import words
from llmill.text.tokenization.tokenizer import Tokenizer

SHOWN = 10  # classes, columns
BEGINNING = 60  # characters of a text
PLAIN = re.compile(r"[A-Za-z][\w./-]*")  # what YAML reads as a text without quotes


@dataclass(frozen=True)
class Finding:
    """Description of a file, line by line, and the value of `download.ROLE` for it."""

    lines: list[str]
    role: str
    value: Any


def counted(n: int, what: str) -> str:
    """Return a number with its noun: `1 row`, `2 rows`."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def largest(counts: Counter[str]) -> str:
    """Return the most frequent names with their counts."""
    shown = ", ".join(f"{name} {n:,}" for name, n in counts.most_common(SHOWN))
    return shown + (", ..." if len(counts) > SHOWN else "")


def listed(names: Iterable[Any]) -> str:
    """Return the first of the names, on one line."""
    all_names = list(map(str, names))
    return ", ".join(all_names[:SHOWN]) + (", ..." if len(all_names) > SHOWN else "")


def beginning(text: str) -> str:
    """Return how a text begins, in quotation marks, so that a wrong encoding is seen."""
    line = " ".join(text.split())
    return f'"{line}"' if len(line) <= BEGINNING else f'"{line[:BEGINNING]} ..."'


def lengths(what: str, texts: Sequence[str]) -> Iterator[str]:
    """Yield the lengths of texts, in words and in tokens."""
    counts = sorted(map(words.count, texts))
    if counts:
        end = counts[len(counts) * 95 // 100]
        yield (
            f"{what} in words: half up to {median(counts):,.0f}, 95 % up to {end:,}, "
            f"longest {counts[-1]:,}"
        )
        yield from _tokens(texts)


def _tokens(texts: Sequence[str]) -> Iterator[str]:
    """Yield lengths by this chain's tokenizer, or, if there is none, what will make it."""
    folder = pipeline.folder(params.stages(params.load()), "tokenizer") / BPE
    if not folder.is_dir():
        yield "in tokens: shown once there is a tokenizer (dvc repro tokenizer)"
        return
    tokenizer = Tokenizer.load(folder)
    counts = [len(tokenizer.encode(text)) for text in texts]
    yield (
        f"in tokens of {folder}: {sum(counts):,} in all, half up to {median(counts):,.0f}, "
        f"longest {max(counts):,}"
    )


def flow(value: Any) -> str:
    """Return YAML on one line, unquoted where that means the same."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str) and PLAIN.fullmatch(value) and yaml_file.parse(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)
