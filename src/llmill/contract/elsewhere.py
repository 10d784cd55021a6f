"""Read files that somebody else wrote, and the names in them. Reading ends soon, with the content
or with one line about the problem.

A name in such a file must be that of a file beside it or below it, never of one outside the folder.
Links inside a folder are followed, because the caches of Hugging Face and DVC consist of links.
"""

import json
import stat
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llmill.contract import printable
from llmill.contract.errors import UserError

LARGEST = 1 << 28  # bytes of a text or JSON file; published tokenizers have up to 40 million
DEEPEST = 64  # nested objects and lists; code that walks them recurses once per level
LONGEST_NAME = 255  # bytes, on most file systems
LONGEST_QUOTE = 100  # characters of a value in an error's line


def is_plain(name: Any) -> bool:
    """Return whether `name` is the name of a file and not a path."""
    return (
        isinstance(name, str)
        and name not in ("", ".", "..")
        and not set(name) & set("/\\")
        and printable.line(name) == name  # a NUL ends a name, and a lone surrogate makes none
        and len(name.encode()) <= LONGEST_NAME
    )


def is_below(path: Any) -> bool:
    """Return whether `path` stays inside a folder: relative to it and written with `/`."""
    return isinstance(path, str) and all(map(is_plain, path.split("/")))


def inside(folder: Path, path: Any, named_in: Path) -> Path:
    """Resolve a path that is in the file `named_in`. Raises `UserError` if it leaves the folder."""
    if not is_below(path):
        raise UserError(f"{named_in}: {quoted(path)} is not the name of a file in {folder}")
    return folder / path


def quoted(value: Any) -> str:
    """Return a value as an error line shows it."""
    value_text = repr(value)
    return value_text if len(value_text) <= LONGEST_QUOTE else f"{value_text[:LONGEST_QUOTE]} ..."


def problem(error: ValidationError) -> str:
    """Return the first mismatch with a schema: where it is, its value, and what it must be."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    value_text = "" if isinstance(first["input"], dict | list) else f" = {quoted(first['input'])}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}{value_text}: {message}" if where else message


def refuse_other_than_files(path: Path) -> None:
    """Raise `UserError` unless the path is a file: not a folder, and not a device or pipe, which
    may have no end.
    """
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        raise UserError(f"{path}: missing") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(kind):
        raise UserError(f"{path}: not a file")


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file. Raises `UserError` if it is missing, not a file, or too large."""
    refuse_other_than_files(path)
    size = path.stat().st_size
    if size > LARGEST:
        raise UserError(f"{path}: {size:,} bytes; such a file has {LARGEST:,} at most")
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def read_text(path: Path) -> str:
    """Return a text in UTF-8. Raises `UserError` for anything else."""
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from None


def parsed(text: str | bytes) -> Any:
    """Return the value of a JSON text. Raises `ValueError` with the reason, also for values that
    are nested too deeply to walk.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    level = [value]
    for _ in range(DEEPEST):
        level = [part for item in level for part in _parts(item) if isinstance(part, dict | list)]
        if not level:
            return value
    raise ValueError(TOO_DEEP)


TOO_DEEP = f"more than {DEEPEST} objects and lists in one another"


def _parts(item: Any) -> Any:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()


def read_object(path: Path) -> dict[str, Any]:
    """Return a JSON object. Raises `UserError` for anything else."""
    try:
        value = parsed(read_bytes(path))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected an object, found {type(value).__name__}")
    return value
