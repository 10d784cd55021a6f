"""Records of what a stage was made from and what it made, by content; and writes that are complete
or do not happen.

`record.json` is written last; a folder without it is not a result.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llmill.contract import elsewhere
from llmill.contract.errors import UserError

NAME = "record.json"
SKIPPED = {"__pycache__"}
SCRATCH = Path("scratch")  # files that are not results: states, downloads, replies


def sha256_text(text: str) -> str:
    """Return the SHA-256 hash of a text's UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 hash of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_under(folder: Path) -> list[Path]:
    """Return every file below a folder, sorted, without bytecode."""
    found = (p for p in folder.rglob("*") if p.is_file() and not SKIPPED & set(p.parts))
    return sorted(found, key=lambda p: p.relative_to(folder).as_posix())


def content_hash(path: Path) -> str:
    """Return the hash of a file's content, or of the names and hashes of a folder's files."""
    if path.is_dir():
        lines = (f"{sha256_file(p)}  {p.relative_to(path).as_posix()}\n" for p in files_under(path))
        return sha256_text("".join(lines))
    if not path.exists():
        raise UserError(f"{path}: missing; `dvc pull`, or `dvc repro` of the stage that makes it")
    return sha256_file(path)


def to_json(value: Any) -> str:
    """Return the JSON form that all files written here share."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: write a temporary sibling, flush it to disk, then rename
    it.
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all."""
    write_bytes(path, to_json(value).encode())


def read_json(path: Path) -> Any:
    """Read one of our JSON files. Raises a `UserError` that names the file."""
    try:
        return elsewhere.parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path}: missing; `dvc pull`, or `dvc repro` of the stage that makes it"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; `dvc checkout` restores it") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); `dvc checkout` restores it") from None


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten `{"a": {"b": 1}}` to `{"a.b": 1}`."""
    flat_values: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat_values |= flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat_values


def outputs(folder: Path) -> dict[str, dict[str, Any]]:
    """Return bytes and hash of every file of a result except the record itself."""
    return {
        p.relative_to(folder).as_posix(): {"bytes": p.stat().st_size, "sha256": sha256_file(p)}
        for p in files_under(folder)
        if p != folder / NAME
    }


def write(folder: Path, stage: str, parameters: dict[str, Any], inputs: dict[str, str]) -> str:
    """Write a result's record as its last file; return the record's own hash."""
    value = {"stage": stage, "parameters": parameters, "inputs": inputs, "outputs": outputs(folder)}
    write_json(folder / NAME, value)
    return sha256_file(folder / NAME)


def temporary_sibling(folder: Path) -> Path:
    """Make an empty folder beside the final one, on the same disk."""
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    return temporary


def refuse_foreign(folder: Path) -> None:
    """Raise `UserError` if something that llmill did not make stands in a result's place: a file,
    or a folder that is not empty and has no record.
    """
    if not os.path.lexists(folder) or (folder / NAME).is_file():
        return
    if folder.is_dir() and not any(folder.iterdir()):
        return
    raise UserError(
        f"{folder}: llmill writes a result here, but did not create what is there (it holds no "
        f"{NAME}); move it away, or change paths in params.yaml"
    )


def publish(temporary: Path, folder: Path) -> None:
    """Put a complete folder in its place: move the old one aside, the new one in, remove the old
    one.

    Raises `UserError` if the old one is not llmill's.
    """
    refuse_foreign(folder)
    old = folder.with_name(folder.name + ".old.tmp")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    temporary.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def hash_inputs(paths: Iterable[str]) -> dict[str, str]:
    """Return the content hash of each declared input."""
    return {path: content_hash(Path(path)) for path in paths}
