"""`llmill preset` lists the presets, writes one to `params.yaml`, or changes values there.

`presets/world.yaml` is complete and commented. Every other file in that folder holds what differs
from it, and begins with comments on what it is, what it needs and how long it takes.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llmill.contract import printable, record, source, yaml_file, yaml_merge
from llmill.contract.errors import UserError
from llmill.runner import params
from llmill.runner.tree import Params

FOLDER = Path("presets")
BASE = "world"
WHOLE = {  # one value each, because their keys are names of sources, not parameters
    ("prepare", "weights"),
    ("prepare", "instruction", "weights"),
}
HEAD = re.compile(r"(?:#[^\n]*\n)+")  # the first comment of a file
SAID = re.compile(r"# (needs|takes): (.*)")
COMMENT = re.compile(r"(?:^|\s)#")
CHANGE = re.compile(r"([\w-]+(?:\.[\w-]+)*)=(.+)", re.DOTALL)


@dataclass(frozen=True)
class PresetDescription:
    """The description in a preset's first lines."""

    what: str
    needs: str
    takes: str
    head: str  # all of them


def names(folder: Path = FOLDER) -> list[str]:
    """Return every preset, the base first. Raises `UserError` if there are none."""
    stems = {file.stem for file in folder.glob("*.yaml")}
    if BASE not in stems:
        restore = f"`git checkout {folder}` restores it"
        outside = "work in the root of the repository"
        todo = source.in_root(restore if Path("dvc.yaml").exists() else outside)
        raise UserError(f"{folder / BASE}.yaml: no such file; {todo}")
    return [BASE, *sorted(stems - {BASE})]


def text(name: str, folder: Path = FOLDER) -> str:
    """Return the whole parameter file that a preset stands for."""
    presets = names(folder)
    if name not in presets:
        near = get_close_matches(name, presets, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(presets)}"
        raise UserError(yaml_file.one_line(f"no preset '{name}'; {hint}"))
    base = _read(folder / f"{BASE}.yaml")
    return base if name == BASE else _applied(base, _read(folder / f"{name}.yaml"), folder / name)


def load(name: str, folder: Path = FOLDER) -> Params:
    """Return the parameters of a preset, checked."""
    return params.check(yaml_file.parse(text(name, folder)), folder / f"{name}.yaml")


def description(name: str, folder: Path = FOLDER) -> PresetDescription:
    """Return the description of a preset; what its head does not say is empty."""
    content = (folder / f"{name}.yaml").read_text(encoding="utf-8", errors="replace")
    lines = match[0].splitlines() if (match := HEAD.match(content)) else []
    words = {m[1]: m[2] for m in map(SAID.fullmatch, lines) if m}
    what = lines[0].removeprefix("#").strip() if lines else ""
    head = "\n".join(line.removeprefix("#") for line in lines)
    return PresetDescription(what, words.get("needs", ""), words.get("takes", ""), head)


def write(name: str, changes: list[str], force: bool) -> None:
    """Write a preset, with these changes, to `params.yaml`.

    Raises `UserError` if that would lose somebody's edits there, unless `force` is set.
    """
    content = changed(text(name), changes)
    params.check(yaml_file.parse(content), params.FILE if changes else FOLDER / f"{name}.yaml")
    if not force and not _is_safe(_place()):
        raise UserError(
            f"{params.FILE}: has edits that git has not committed; commit them, or `llmill preset "
            f"{name} --force` replaces them"
        )
    _write(content)
    with_changes = f" with {', '.join(changes)}" if changes else ""
    print(printable.line(f"{params.FILE}: preset {name}{with_changes}"))
    print(printable.lines(description(name).head))


def change(changes: list[str]) -> None:
    """Change values of `params.yaml` in place."""
    content = changed(_read(params.FILE), changes)
    params.check(yaml_file.parse(content), params.FILE)
    _write(content)
    print(printable.line(f"{params.FILE}: {', '.join(changes)}"))


def changed(content: str, changes: list[str]) -> str:
    """Return a parameter file with each `key.key=value`; its value is YAML and replaces the old
    one.
    """
    for word in changes:
        match = CHANGE.fullmatch(word)
        if not match:
            raise UserError(
                yaml_file.one_line(
                    f"--set {word}: expected key=value, such as pretrain.training.max_steps=100"
                )
            )
        keys, value = tuple(match[1].split(".")), _written(word, match[2])
        new = "".join(f"{{{key}: " for key in keys[1:]) + value + "}" * (len(keys) - 1)
        try:
            content = yaml_merge.merge(content, f"{keys[0]}: {new}", partial(_is_there, keys))
        except ValueError as error:
            raise UserError(
                yaml_file.one_line(f"{params.FILE}: --set {word}: {error}; edit it by hand")
            ) from None
    return content


def print_list() -> None:
    """Print the presets: a table on a terminal, else one line per preset."""
    present = params.FILE.read_bytes() if params.FILE.is_file() else None
    rows = []
    for name in names():
        entry = description(name)
        try:
            mark = " *" if present == text(name).encode() else ""
        except UserError as error:  # the other presets are still listed
            entry, mark = PresetDescription(str(error), "", "", ""), ""
        rows.append([name + mark, entry.what, entry.needs, entry.takes])
    rows = [[printable.line(cell) for cell in row] for row in rows]
    heads = ["preset", "what it is", "needs", "takes"]
    if sys.stdout.isatty():
        table = Table(*heads, show_lines=True)
        for row in rows:
            table.add_row(*map(escape, row))
        Console().print(table)
    else:
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        for row in [heads, *rows]:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            print("  ".join(cells).rstrip())
    print(
        "`llmill preset NAME` writes one to params.yaml" + ("; * is there now" if present else "")
    )


def _applied(base: str, differing: str, file: Path) -> str:
    """Return the base with a preset's values, and with the preset's head in place of its own."""

    def whole(path: yaml_merge.Keys, keys: set[str]) -> bool:
        return path in WHOLE or (path == ("model",) and "shape" in keys)

    try:
        merged = yaml_merge.merge(base, differing, whole)
    except ValueError as error:
        raise UserError(yaml_file.one_line(f"{file}.yaml: {error}")) from None
    old, new = HEAD.match(merged), HEAD.match(differing)
    return new[0] + merged[old.end() :] if old and new else merged


def _is_there(keys: tuple[str, ...], path: tuple[str, ...], _: object) -> bool:
    """Return whether a path is the one that is set: its value is replaced as a whole."""
    return path == keys


def _written(word: str, value: str) -> str:
    """Return a value as it may stand between braces: as given, if it means the same there."""
    try:
        meant = yaml_file.parse(value)
    except ValueError as error:
        raise UserError(yaml_file.one_line(f"--set {word}: not YAML: {error}")) from None
    if _has_comment(value, meant):
        raise UserError(
            yaml_file.one_line(f"--set {word}: a comment begins at '#'; put quotes round the value")
        )
    try:
        same = "\n" not in value and yaml_file.parse(f"{{x: {value}}}") == {"x": meant}
    except ValueError:
        same = False
    return value.strip() if same else json.dumps(meant, ensure_ascii=False, default=str)


def _has_comment(value: str, meant: object) -> bool:
    before, *behind = COMMENT.split(value, maxsplit=1)
    with contextlib.suppress(ValueError):  # in quotation marks it is text
        return bool(behind) and yaml_file.parse(before) == meant
    return False


def _read(file: Path) -> str:
    yaml_file.load(file, source.in_root(params.MAKE), params.MOST_BYTES)
    return file.read_bytes().decode()  # with its own line ends


def _write(content: str) -> None:
    try:
        record.write_bytes(_place(), content.encode())
    except OSError as error:
        raise UserError(f"{params.FILE}: cannot be written: {error.strerror}") from None


def _place() -> Path:
    """Return the file to write: where `params.yaml` leads, if it is a link."""
    return Path(os.path.realpath(params.FILE))


def _is_safe(file: Path) -> bool:
    """Return whether nothing is lost with a file: git has it, or a preset makes it."""
    if not file.exists():
        return True
    command = ["git", "--no-optional-locks", "status", "--porcelain", "--ignored", "--", str(file)]
    with contextlib.suppress(FileNotFoundError):  # no git
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode == 0 and not done.stdout:
            return True
    return any(_makes(name, file.read_bytes()) for name in names())


def _makes(name: str, content: bytes) -> bool:
    try:
        return text(name).encode() == content
    except UserError:  # an invalid preset made nothing
        return False
