"""A model in one file of llama.cpp's format, GGUF: its metadata and the places of its tensors, read
by the library `gguf`. The metadata become plain values; the tensors stay in the file.
"""

import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmill.contract import elsewhere
from llmill.contract.elsewhere import quoted
from llmill.contract.errors import UserError

if TYPE_CHECKING:
    from gguf import GGUFReader, ReaderTensor

ARCHITECTURES = ("gpt2", "llama")  # architectures that ours can become with some switches set
LONGEST = 1 << 22  # values in a list (tokens, merges); each takes a hundred bytes or more here
DAMAGED = (ValueError, IndexError, KeyError, TypeError, OverflowError, RecursionError, OSError)
UNKNOWN = re.compile(r"(\d+)\)? is not a valid GGMLQuantizationType")  # the library's message


@dataclass(frozen=True)
class Gguf:
    """The content of a file: values by name, and its tensors, whose shapes are last axis first."""

    file: Path
    architecture: str
    values: dict[str, Any]
    tensors: dict[str, "ReaderTensor"]

    def text(self, name: str) -> str | None:
        """Return a text of the metadata, if it is there. Raises `UserError` for another kind."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            raise UserError(f"{self.file}: {name} = {quoted(value)}: must be a text")
        return value

    def number(self, name: str) -> int | None:
        """Return a whole number from 0 of the metadata, if any. Raises `UserError` for another
        kind.
        """
        value = self.values.get(name)
        if value is not None and (type(value) is not int or value < 0):
            raise UserError(f"{self.file}: {name} = {quoted(value)}: must be a whole number")
        return value

    def rows(self, name: str, kind: type) -> Sequence[Any]:
        """Return a list of the metadata with values of one kind. Raises `UserError` for others."""
        value = self.values.get(name)
        if not isinstance(value, list) or not all(type(each) is kind for each in value):
            raise UserError(f"{self.file}: {name}: missing, or no list")
        return value


def read(file: Path) -> Gguf:
    """Read a file. Raises `UserError` for one that is damaged, in several parts, or of an
    architecture that llmill does not have.
    """
    elsewhere.refuse_other_than_files(file)
    stat = file.stat()
    return _read(file, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=1)  # shape, tokenizer and weights are read one after another
def _read(file: Path, size: int, changed: int) -> Gguf:
    try:
        reader = _reader(file)
        values = {name: field.contents() for name, field in reader.fields.items()}
        tensors = {tensor.name: tensor for tensor in reader.tensors}
    except DAMAGED as error:
        if kind := UNKNOWN.search(str(error)):
            raise UserError(
                f"{file}: numbers of type {kind[1]}, which the library gguf does not know; a newer "
                "one may, or another quantisation of the model will do"
            ) from None
        raise UserError(f"{file}: no GGUF file, or a damaged one ({_reason(error)})") from None
    except MemoryError:
        raise UserError(f"{file}: no GGUF file, or a damaged one (no memory holds it)") from None
    if values.get("split.count", 1) not in (0, 1):
        raise UserError(
            f"{file}: one of {quoted(values['split.count'])} parts; `llama-gguf-split --merge` of "
            "llama.cpp makes one file of them"
        )
    architecture = values.get("general.architecture")
    if architecture not in ARCHITECTURES:
        raise UserError(
            f"{file}: general.architecture = {quoted(architecture)}: not an architecture that "
            f"llmill has; known: {', '.join(ARCHITECTURES)}"
        )
    return Gguf(file, str(architecture), values, tensors)


def _reader(file: Path) -> "GGUFReader":
    """Return the library's reader, which refuses counts and lengths that exceed the file."""
    from gguf import GGUFReader, GGUFValueType

    class Reader(GGUFReader):
        def _get(self, offset: int, dtype: Any, count: int = 1, *rest: Any, **other: Any) -> Any:
            # A view of a memmap is a memmap, and slow to make; a list of tokens needs a hundred
            # thousand.
            self.data: Any = np.asarray(self.data)
            end = offset + np.dtype(dtype).itemsize * int(count)
            if end > len(self.data):
                raise ValueError(f"cut short: byte {end:,} of {len(self.data):,}")
            return super()._get(offset, dtype, count, *rest, **other)

        def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
            if raw_type == GGUFValueType.ARRAY:
                length = int(self._get(orig_offs + 4, np.uint64)[0])
                if length > LONGEST:
                    raise ValueError(f"a list of {length:,} values")
            return super()._get_field_parts(orig_offs, raw_type)

    return Reader(os.fspath(file))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
