"""Instructions and preferences, and tables that would be either under other names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmill.contract.errors import UserError
from llmill.new_data.finding import Finding, beginning, flow, lengths
from llmill.new_data.texts import repeats
from llmill.tasks import instruction, preference, rows
from llmill.text.files import table_endings
from llmill.text.identity import normal

INSTRUCTIONS = [  # keys that no other form has together
    *([name] for name in instruction.CONVERSATIONS),
    ["instruction", "output"],
    ["instruction", "response"],
    ["prompt", "completion"],
]
ASKING = ("instruction", "prompt", "question", "query", "input")
ANSWERING = ("output", "completion", "response", "answer")


def pairs(path: Path, source: dict[str, str]) -> Finding | None:
    """Return preferences, if the file holds them; they may have an instruction's keys as well."""
    if not _has_rows(path):
        return None
    try:
        entries = preference.read_raw(path, source.get("encoding"))
    except UserError:
        if any(_has_keys(path, source, [name]) for name in preference.ANSWERS):
            raise
        return None
    undecided = sum(entry.undecided for entry in entries)
    lines = [
        f"{path}: preferences, {path.stat().st_size:,} bytes",
        f"pairs: {len(entries):,}; {undecided:,} with two equal answers",
        f"prompts: {len({normal(entry.task) for entry in entries}):,}",
        f"first prompt: {beginning(entries[0].task)}; chosen: {beginning(entries[0].chosen)}",
        *lengths("answers", [text for e in entries for text in (e.chosen, e.rejected)]),
    ]
    return Finding(lines, "preference", source)


def tasks(path: Path, source: dict[str, str]) -> Finding | None:
    """Return instructions, if the file holds them."""
    if not _has_rows(path):
        return None
    try:
        entries = instruction.read_raw(path, source.get("encoding"))
    except UserError:  # another table, or a broken one: reading it as such says what is wrong
        if any(_has_keys(path, source, names) for names in INSTRUCTIONS):
            raise
        return None
    wholes = [f"{entry.task}\n{entry.output}" for entry in entries]
    lines = [
        f"{path}: instructions, {path.stat().st_size:,} bytes",
        f"rows: {len(entries):,}; repeats: {repeats(wholes):,}",
        f"without a response: {sum(not entry.output.strip() for entry in entries):,}",
        f"first prompt: {beginning(entries[0].task)}; response: {beginning(entries[0].output)}",
        *lengths("responses", [entry.output for entry in entries]),
    ]
    return Finding(lines, "instruction", source)


def refuse_other_names(path: Path, own: Path, names: Sequence[Any], encoding: str | None) -> None:
    """Raise `UserError` for a table that holds instructions or preferences, but whose names or
    ending differ from those that are read.
    """
    by_name = {str(name).strip().casefold(): str(name) for name in names}
    if by_name.keys() >= set(preference.ANSWERS) and not _has_rows(path):
        raise UserError(f"{path}: looks like preferences: write its rows as JSON lines (.jsonl)")
    asked = next((name for name in ASKING if name in by_name), None)
    answered = next((name for name in ANSWERING if name in by_name), None)
    if asked is None or answered is None:
        return
    read = ("instruction", "output") if asked == "instruction" else ("prompt", "completion")
    found = by_name[asked], by_name[answered]
    renamed = [pair for pair in zip(found, read, strict=True) if pair[0] != pair[1]]
    if _has_rows(path):
        if not renamed:
            instruction.read_raw(path, encoding)  # says which row differs from the others
        how = "rename " + " and ".join(f"{old} to {new}" for old, new in renamed)
    else:
        how = "write its rows as JSON lines (.jsonl)"
        if renamed:
            how += ", " + " and ".join(f"{old} as {new}" for old, new in renamed)
    form = {"file": str(own), "text": found[0], "label": found[1]}
    raise UserError(
        f"{path}: looks like instructions: {how}; or, if {found[1]} holds labels: "
        f"classification: {flow(form)}"
    )


def _has_rows(path: Path) -> bool:
    """Return whether the file is of a kind in which instructions and preferences are read."""
    return path.suffix in table_endings.ROWS


def _has_keys(path: Path, source: dict[str, str], names: Sequence[str]) -> bool:
    """Return whether the first row has all of these, so that no other form is possible."""
    _, row = next(iter(rows.read(path, source.get("encoding"))))
    return isinstance(row, dict) and row.keys() >= set(names)
