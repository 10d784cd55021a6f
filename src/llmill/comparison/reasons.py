"""Explain in words which change moved the metrics of a stage; claim only what a run shows."""

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from llmill.comparison.causes import CODE, MISSING, Between, Change
from llmill.comparison.figures import Figure
from llmill.comparison.items import Paired
from llmill.comparison.revisions import Revision

MOST = 3  # changes that a line names


@dataclass(frozen=True)
class StepFigure:
    """A metric before and after one step, and the same items at both."""

    name: str
    by: str  # the changes of the step
    figure: Figure
    paired: Paired | None


@dataclass
class Reason:
    """The explanation for stages that have the same changes upstream."""

    addresses: list[str]
    said: str = ""
    figures: list[StepFigure] = field(default_factory=list)
    is_open: bool = False  # several changes upstream that no run in the cache separates


def said(
    between: Between,
    values: Mapping[Change, tuple[Any, Any]],
    sides: tuple[Revision, Revision],
    addresses: list[str],
    files: Mapping[Change, str],
) -> str:
    """Return the explanation in one line. `values`: each change before and after; `files`: a file
    for each change that is not a parameter.
    """
    changes = sorted(between.changes)
    if not changes:
        return (
            "the bytes differ although nothing upstream does: the same parameters, code and data "
            "gave another result, perhaps on another machine"
        )
    if len(changes) == 1:
        return f"the only change upstream is {named(changes, values)}"
    if len(between.steps) > 1:
        steps = "; then ".join(named(step.changes, values) for step in between.steps)
        together = "" if between.is_known else " (llmill cannot separate changes within a step)"
        return f"DVC's cache has the runs in between: {steps}{together}"
    makes = command(between, values, sides[1], addresses, files)
    return (
        f"{len(changes)} changes upstream ({named(changes, values)}), and DVC's cache has no run "
        "in between that separates them"
        + (f"; at {sides[0].name}, `{makes}` makes one" if makes else "")
    )


def named(changes: Iterable[Change], values: Mapping[Change, tuple[Any, Any]]) -> str:
    """Return changes in words."""
    listed = [_name(change, values[change]) for change in sorted(changes)]
    if len(listed) > MOST:
        listed = [*listed[: MOST - 1], f"{len(listed) - MOST + 1} more"]
    return ", ".join([*listed[:-2], " and ".join(listed[-2:])])


def command(
    between: Between,
    values: Mapping[Change, tuple[Any, Any]],
    after: Revision,
    addresses: list[str],
    files: Mapping[Change, str],
) -> str:
    """Return a command that runs the side before with one of the changes, a parameter's value or a
    file; "" if nobody can make such a run.
    """
    run, targets = "dvc exp run --temp", " ".join(addresses)
    near = sorted(between.changes, key=lambda change: (change not in between.own, change))
    parameter = next((change for change in near if change.kind == "parameter"), None)
    if parameter:
        return f"{run} -S {_override(parameter.name, *values[parameter])} {targets}"
    file = next((files[change] for change in near if change in files), None)
    if file is None or after.commit is None:  # git has no commit of the work tree
        return ""
    return f"git checkout {after.name} -- {shlex.quote(file)} && {run} {targets}"


def _override(name: str, before: Any, after: Any) -> str:
    """Return the argument of `-S`; a key that is new, or goes, is marked."""
    if after == MISSING:
        return f"'~{name}'"
    value = after if isinstance(after, str) else json.dumps(after, separators=(",", ":"))
    return shlex.quote(f"{'+' if before == MISSING else ''}{name}={value}")


def _name(change: Change, values: tuple[Any, Any]) -> str:
    if change.kind == "parameter":
        return f"{change.name} {plain(values[0])} → {plain(values[1])}"
    if change.kind == CODE:
        return f"the code of {PurePosixPath(change.name).stem}"
    if change.kind == "command":
        return f"the command of {change.name}"
    if change.kind == "input":
        return f"the {'removed' if values[1] == MISSING else 'new'} input {change.name}"
    if change.kind == "bytes":
        return f"other bytes in {change.name} that nothing upstream explains"
    return f"data {change.name}"


def plain(value: Any) -> str:
    """Return a value as params.yaml would write it."""
    if value == MISSING:
        return MISSING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
