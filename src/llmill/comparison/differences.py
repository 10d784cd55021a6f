"""Find what differs between two chains: parameters, code, packages, data, commands; each stage."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from llmill.comparison.cache import DvcCache
from llmill.comparison.causes import CODE, MISSING, Chains
from llmill.comparison.outputs import Outputs
from llmill.comparison.revisions import Revision
from llmill.comparison.stage_runs import StageRun
from llmill.contract import closure, record
from llmill.contract.closure import Code, SourceTree
from llmill.contract.errors import UserError

LOCK = "requirements.lock"
SOURCE = "src/"
SHORT = 8  # characters of a hash
KINDS = ("parameter", "code", "package", "data", "input", "bytes", "command")  # in the order shown


@dataclass
class Difference:
    """One thing before and after, and the stages that it belongs to."""

    kind: str
    name: str
    before: Any
    after: Any
    stages: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class StageRow:
    """A stage with a difference: what changed in it, whose differing results it read, and what
    differs in its own output.
    """

    address: str
    changed: list[str]
    inputs: list[str]
    output: str


def differences(
    chains: Chains,
    revisions: tuple[Revision, Revision],
    outputs: tuple[Outputs, Outputs],
    notes: list[str],
) -> list[Difference]:
    """Return everything that somebody changed, by kind. Anything uncertain goes into `notes`."""
    by_name: dict[tuple[str, str], Difference] = {}
    codes: dict[str, tuple[str, str]] = {}

    def note(kind: str, name: str, values: tuple[Any, Any], stage: str) -> None:
        each = by_name.setdefault((kind, name), Difference(kind, name, *values))
        if stage not in each.stages:
            each.stages.append(stage)

    for address in chains.both:
        for change, values in chains.own(address).items():
            if change.kind == CODE:
                codes[change.name] = values
            elif change.kind in ("data", "input", "bytes"):
                if address != CODE and not change.name.startswith(SOURCE):
                    note(change.kind, change.name, (_short(values[0]), _short(values[1])), address)
            else:
                note(change.kind, change.name, values, address)
    pairs = zip(revisions, outputs, strict=True)
    old, new = (Codes(revision, files, notes) for revision, files in pairs)
    for path, values in codes.items():
        stage = PurePosixPath(path).stem
        before, after = old.read(path, values[0]), new.read(path, values[1])
        parts = [*_of_code(before, after)] if before and after else []
        for kind, name, *pair in parts:
            note(kind, name, (pair[0], pair[1]), stage)
        if not parts:  # nobody has the earlier code
            note(CODE, f"of {stage}", (_short(values[0]), _short(values[1])), stage)
    for name, versions in _packages(revisions).items():
        by_name.setdefault(("package", name), Difference("package", name, *versions))
    return sorted(by_name.values(), key=lambda each: (KINDS.index(each.kind), each.name))


def stage_rows(chains: Chains, cache: DvcCache) -> list[StageRow]:
    """Return the stages in which anything differs, in the chain's order."""
    rows = []
    for address in dict.fromkeys([*chains.before, *chains.after]):
        if address not in chains.both:
            side = "before" if address in chains.before else "after"
            rows.append(StageRow(address, [], [], f"only {side}"))
            continue
        own = chains.own(address)
        kinds = [change.kind for change in own]
        counted = [_counted(kind, kinds.count(kind)) for kind in KINDS if kind in kinds]
        inputs = [*dict.fromkeys(chains.inputs(address).values())]
        output = _output(chains, address, cache)
        if own or inputs or output != "same":
            rows.append(StageRow(address, counted, inputs, output))
    return rows


def edited_since(chain: Mapping[str, StageRun], values: Any) -> list[str]:
    """Return the parameters whose value in `params.yaml` is not the one that results were made
    with, and those that have come into a section since.
    """
    now = record.flat(values) if isinstance(values, dict) else {}
    edited = set()
    for run in chain.values():
        within = tuple(f"{section}." for section in run.sections)
        new = {name for name in now if name.startswith(within)}
        edited |= {
            name
            for name in new | run.parameters.keys()
            if now.get(name, MISSING) != run.parameters.get(name, MISSING)
        }
    return sorted(edited)


def _of_code(before: Code, after: Code) -> Iterator[tuple[str, str, Any, Any]]:
    for part in ("modules", "tables"):
        old, new = before.get(part, {}), after.get(part, {})
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                yield "code", name, _short(old.get(name)), _short(new.get(name))
    old, new = before.get("packages", {}), after.get("packages", {})
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield "package", name, old.get(name, MISSING), new.get(name, MISSING)


class Codes:
    """The code of each stage of a revision."""

    def __init__(self, revision: Revision, outputs: Outputs, notes: list[str]):
        self._revision, self._outputs, self._notes = revision, outputs, notes

    def read(self, path: str, md5: str) -> Code | None:
        """Return the code from the file that stage `code` wrote, else from the revision's source;
        None if neither exists.
        """
        if self._outputs.cache.read(md5, path) is not None:
            value = self._outputs.json(md5, path)
            return value if isinstance(value, dict) else None
        code = self._of_source.get(PurePosixPath(path).stem)
        content = record.to_json(code).encode() if code else b""
        if code and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            title = self._revision.title
            line = f"{title}: its source is not exactly the code that made its results"
            if line not in self._notes:
                self._notes.append(line)
        return code

    @cached_property
    def _of_source(self) -> dict[str, Code]:
        """The code by stage; empty if the source cannot be read."""
        prefix = f"{closure.PACKAGE}.stages."
        locked = _locked(self._revision)
        with self._revision.source() as folder:
            try:
                tree = SourceTree(folder / "src")
                names = [n.removeprefix(prefix) for n in tree.modules if n.startswith(prefix)]
                names = [name for name in names if "." not in name]
                return {name: closure.code_of(tree, name, locked) for name in names}
            except (UserError, AssertionError, OSError):
                return {}


def _packages(revisions: tuple[Revision, Revision]) -> dict[str, tuple[str, str]]:
    """Return every locked package whose version differs, including those that no stage imports."""
    old, new = map(_locked, revisions)
    return {
        name: (old.get(name, MISSING), new.get(name, MISSING))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    }


def _locked(revision: Revision) -> dict[str, str]:
    content = revision.read(LOCK) or b""
    return closure.locked_versions(content.decode(errors="replace").splitlines())


def _output(chains: Chains, address: str, cache: DvcCache) -> str:
    """Return whether a stage's output differs, and in which files."""
    old, new = chains.pair(address)
    if old.outs == new.outs:
        return "same"
    pair = [cache.files(md5, out) for run in (old, new) for out, md5 in run.outs.items()]
    if len(pair) != 2 or pair[0] is None or pair[1] is None:
        return "differs"
    names = pair[0].keys() | pair[1].keys()
    differing = sorted(name for name in names if pair[0].get(name) != pair[1].get(name))
    if differing == [record.NAME]:
        return "same except its record"
    shown = [name for name in differing if name != record.NAME]
    more = f", and {len(shown) - 2} more" if len(shown) > 3 else ""
    return f"differs: {', '.join(shown[: 2 if more else 3])}{more}"


def _counted(kind: str, n: int) -> str:
    return f"{n} {kind}{'s' if n > 1 else ''}" if kind in ("parameter", "input") else kind


def _short(digest: Any) -> str:
    return str(digest)[:SHORT] if digest not in (None, MISSING) else MISSING
