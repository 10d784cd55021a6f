"""`llmill clean`: find what runs have left in `scratch/` and no run will use again.

A state is of no use if its parameters are not today's, or its result is in DVC's cache; a download,
if it is not a source of `sources.yaml`; parts of a stage's work, if the stage has a later result. A
state of other data or code stays, because a checkout may bring it back. Anything that a running
process holds stays.
"""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from llmill.contract import ownership, parts, printable, record
from llmill.contract.errors import UserError
from llmill.contract.pipeline import Stage
from llmill.report import form
from llmill.runner import params, scratch, tracking
from llmill.runner.tree import Params
from llmill.text.download import fetch, sources

DOWNLOAD = "download"  # the stage
FINGERPRINT = re.compile(r"[0-9a-f]{16}")
HASH = re.compile(r"[0-9a-f]{64}")
BUSY = "a process is running the stage"
NO_STAGE = "dvc.yaml has no such stage"
NOTHING = "nothing to remove: scratch/ holds only what a run may still use"
SPANS = ((86_400, "d"), (3600, "h"), (60, "min"))


@dataclass(frozen=True)
class Left:
    """A folder of a run, or the files of a download, and why it may be removed or has to stay."""

    paths: list[Path]
    stage: str
    why: str
    useless: bool

    @cached_property
    def stats(self) -> list[os.stat_result]:
        """Status of all files, down to the last folder; a running stage may remove some of them."""
        below = [
            Path(folder, name)
            for path in self.paths
            for folder, _, names in os.walk(path)
            for name in names
        ]
        found = []
        for file in [*(path for path in self.paths if not path.is_dir()), *below]:
            with contextlib.suppress(FileNotFoundError):
                found.append(file.stat())
        return found

    @property
    def name(self) -> str:
        """The path that it is known by."""
        return next(path for path in self.paths if path.suffix != ".lock").as_posix()

    @property
    def bytes(self) -> int:
        return sum(stat.st_size for stat in self.stats)

    @property
    def age(self) -> str:
        """Time since its newest file was written."""
        newest = max((stat.st_mtime for stat in self.stats), default=time.time())
        seconds = max(0.0, time.time() - newest)
        return next((f"{seconds // n:.0f} {of}" for n, of in SPANS if seconds >= n), "new")


def clean_scratch(remove: bool, downloads: bool) -> None:
    """Print what is of no use, and `remove` it; with `downloads`, this includes every download."""
    tree = params.load()
    stages = params.stages(tree)
    if not scratch.ROOT.is_dir():
        print(NOTHING)
        return
    locks = {*_locks(), scratch.ROOT / DOWNLOAD / "lock"}
    locks |= {folder.parent / "lock" for folder in scratch.ROOT.glob(f"*/{parts.FOLDER}*")}
    for lock in locks if remove else []:  # listing creates nothing
        lock.parent.mkdir(exist_ok=True)
    with contextlib.ExitStack() as held:
        free = {_stage(lock.parent) for lock in sorted(locks) if _hold(lock, held, remove)}
        if not remove:  # listing must not stop a stage from starting
            held.close()
        found = [
            *_states(tree, stages, free),
            *_parts(stages, free),
            *_downloads(downloads, free),
        ]
        useless = [each for each in found if each.useless]
        size = form.size(sum(each.bytes for each in useless))
        _print(useless, [each for each in found if not each.useless])
        for each in useless if remove else []:
            _remove(each)
    if not useless:
        print(NOTHING)
    elif remove:
        print(f"removed: {size}")
    else:
        print(f"{size} of no use; `llmill clean --yes{' --downloads' * downloads}` removes it")


def _locks() -> list[Path]:
    """Return the lock of each stage that has one."""
    return [lock for depth in ownership.STAGES for lock in scratch.ROOT.glob(f"{depth}/lock")]


def _stage(folder: Path) -> str:
    """Return the address of the stage whose folder this is."""
    return folder.relative_to(scratch.ROOT).as_posix()


def _hold(lock: Path, held: contextlib.ExitStack, make: bool) -> bool:
    """Return whether no process is running the stage; then none will while the lock is held. A
    missing lock is held by nobody, and it is not created without `make`.
    """
    if not make and not lock.exists():
        return True
    try:
        held.enter_context(FileLock(lock, timeout=0))
    except Timeout:
        return False
    return True


def _states(tree: Params, stages: dict[str, Stage], free: set[str]) -> Iterator[Left]:
    """Yield the folder of each run that has left one."""
    for state in sorted(state for lock in _locks() for state in lock.parent.glob("*")):
        name = _stage(state.parent)
        if FINGERPRINT.fullmatch(state.name):
            why, useless = BUSY, False
            if name in free:
                why, useless = _judged(state, stages.get(name), tree)
            yield Left([state], name, why, useless)


def _judged(state: Path, stage: Stage | None, tree: Params) -> tuple[str, bool]:
    """Return why a state is removed or stays, and whether it is removed."""
    if stage is None:
        return NO_STAGE, True
    if not (state / scratch.BEGUN).exists():
        return "its parameters are unknown", True
    if (state / scratch.ENDED).exists():
        ended = record.read_json(state / scratch.ENDED)
        if ownership.is_in_dvc(Path(ended["result"]), ended["record"]):
            return "finished; DVC has the result", True
    try:
        values, rest = scratch.other(state, stage, params.values(tree, stage.params))
    except UserError as error:
        return str(error), False
    if values:
        return values, True
    return (f"{rest}, which may come back" if rest else "of today's parameters and data"), False


def _parts(stages: dict[str, Stage], free: set[str]) -> Iterator[Left]:
    """Yield the parts of a stage's work; a stage that has its result does not use them."""
    for folder in sorted(scratch.ROOT.glob(f"*/{parts.GONE}")):
        if folder.parent.name in free:
            yield Left([folder], folder.parent.name, "a removal that was cut off", True)
    for folder in sorted(scratch.ROOT.glob(f"*/{parts.FOLDER}")):
        name = folder.parent.name
        if name not in free:
            yield Left([folder], name, BUSY, False)
        elif name not in stages:
            yield Left([folder], name, NO_STAGE, True)
        elif (folder / scratch.ENDED).exists():
            ended = record.read_json(folder / scratch.ENDED)
            taken = ownership.is_in_dvc(Path(ended["result"]), ended["record"])
            why = f"finished; DVC {'has the result' if taken else 'does not have the result yet'}"
            yield Left([folder], name, why, taken)
        elif _newest(folder) < _newest(Path(stages[name].out)):
            yield Left([folder], name, "the stage has its result", True)
        else:
            yield Left([folder], name, "parts of a run that has not ended", False)


def _newest(folder: Path) -> float:
    """Return when a file or folder in it was last written."""
    newest = 0.0
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):  # a job is at work there
            newest = max(newest, path.stat().st_mtime)
    return newest


def _downloads(everything: bool, free: set[str]) -> Iterator[Left]:
    """Yield the files of each download, whole or partial."""
    files = [file for source in sources.read().values() for file in source.files]
    named = {name for file in files for name in fetch.kept_as(file)}
    groups: dict[str, list[Path]] = {}
    for path in sorted((scratch.ROOT / "downloads").glob("*")):
        match = HASH.match(path.name)
        groups.setdefault(match.group() if match else path.name, []).append(path)
    for name, paths in groups.items():
        if all(path.suffix == ".lock" for path in paths):
            continue
        if DOWNLOAD not in free:
            why, useless = BUSY, False
        elif name in named:
            why, useless = f"{sources.FILE} names it", everything
        else:
            why, useless = f"no source of {sources.FILE} is this file", True
        yield Left(paths, DOWNLOAD, why, useless)


def _print(useless: list[Left], kept: list[Left]) -> None:
    if useless:
        print("of no use:")
        rows = [(e.name, e.stage, form.size(e.bytes), e.age) for e in useless]
        wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row, each in zip(rows, useless, strict=True):
            cells = [f"{cell:{width}}" for cell, width in zip(row, wide, strict=True)]
            print("  " + printable.line("  ".join([*cells, each.why])))
    groups: dict[str, list[Left]] = {}
    for each in kept:
        name = "downloads" if each.paths[0].parent.name == "downloads" else each.name
        groups.setdefault(f"{name}  {each.why}", []).append(each)
    if groups:
        print("kept:")
    for line, of_it in groups.items():
        size = form.size(sum(each.bytes for each in of_it))
        print("  " + printable.line(f"{line}: {size}"))


def _remove(left: Left) -> None:
    """Remove it. A run that a kill left open in MLflow is closed first, as the stage's next start
    would.
    """
    for path in left.paths:
        with contextlib.suppress(Exception):
            if (run := path / tracking.RUN_FILE).exists():
                tracking.mark_killed(run)
        if path.name == parts.FOLDER:
            parts.remove(path.parent)
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
