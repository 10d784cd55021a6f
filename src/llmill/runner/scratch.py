"""The private folder from which a stage continues after a stop: one for each set of parameters and
data. `begun.json` in it records the parameters, data and code that it was begun with.

DVC takes over a result only after its stage has ended; if the stage stops before, DVC removes the
result. The state of a stage that DVC runs therefore stays until DVC has the result.
"""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from llmill.contract import ownership, parts, record
from llmill.contract.errors import UserError
from llmill.contract.job import STATE
from llmill.contract.pipeline import Stage
from llmill.runner.tree import LAYOUT

ROOT = record.SCRATCH
BEGUN = "begun.json"
ENDED = "ended.json"  # the result that was made from it
NOT_EXACT = "not_exact.json"  # what has changed since the beginning, if the user continued anyway
RESUME_ANYWAY = "LLMILL_RESUME_ANYWAY"
DVC_RUNS = "DVC_STAGE"  # DVC sets it for the commands that it runs

MOST_TOLD = 6  # differences named in one line

Begun = dict[str, dict[str, Any]]


def folder(stage: Stage, parameters: dict[str, Any], inputs: dict[str, str]) -> Path:
    """Return the scratch folder of these parameters and data; how the work is spread does not
    matter.
    """
    data = {path: inputs[path] for path in stage.data}
    what = [{name: _computed(name, values) for name, values in parameters.items()}, data]
    fingerprint = record.sha256_text(record.to_json(what))[:16]
    return ROOT / stage.address / fingerprint


def claim(
    stage: Stage,
    parameters: dict[str, Any],
    inputs: dict[str, str],
    resume_anyway: bool,
    say: Callable[[str], None],
) -> Path:
    """Make the folder, or take over what an interrupted run left in it.

    Refuses a state that other code saved, unless asked to resume. Reports interrupted runs of other
    parameters or data, and does not continue them.
    """
    state = folder(stage, parameters, inputs)
    state.mkdir(parents=True, exist_ok=True)
    use_parts(state.parent)
    begun: Begun = {
        "parameters": record.flat(parameters),
        "data": {path: inputs[path] for path in stage.data},
        "code": _code(stage),
    }
    if not (state / BEGUN).exists():  # a removal was interrupted: the state's origin is unknown
        shutil.rmtree(state / STATE, ignore_errors=True)
    if (state / STATE).exists():
        before = record.read_json(state / BEGUN)
        changed = _differing(before["code"], begun["code"])
        if changed and (state / ENDED).exists():  # it was finished, so nothing is lost
            shutil.rmtree(state / STATE)
            (state / NOT_EXACT).unlink(missing_ok=True)
    if (state / STATE).exists():
        if changed and not (resume_anyway or os.environ.get(RESUME_ANYWAY)):
            raise UserError(
                f"{state}: an interrupted run of other code ({', '.join(changed)}); "
                f"remove the folder to start anew, or set {RESUME_ANYWAY}=1 to continue it, "
                "marked as not exact"
            )
        changed += _differing(before["parameters"], begun["parameters"])
        if changed:
            record.write_json(state / NOT_EXACT, changed)
        (state / ENDED).unlink(missing_ok=True)
        return state
    (state / ENDED).unlink(missing_ok=True)
    for left in filter(Path.is_dir, list(state.iterdir())):  # samples of a run whose state is gone
        shutil.rmtree(left)
    for other in sorted(state.parent.glob(f"*/{BEGUN}")):
        if other.parent != state and _interrupted(other.parent):
            say(f"{other.parent}: an interrupted run with {_told(other, begun)}; not continued")
    record.write_json(state / BEGUN, begun)
    return state


def use_parts(scratch: Path) -> None:
    """Keep the parts that a result was made from, because they may be needed again."""
    (scratch / parts.FOLDER / ENDED).unlink(missing_ok=True)


def end(folder: Path, out: Path) -> None:
    """Remove the folder and the parts, now that the result is in its place; under DVC, a state and
    parts stay.
    """
    ownership.note_published(folder.parent, out)
    made = folder.parent / parts.FOLDER
    if DVC_RUNS not in os.environ:
        shutil.rmtree(folder)
        parts.remove(made.parent)
        return
    ended = {"result": out.as_posix(), "record": ownership.md5_file(out / record.NAME)}
    if (folder / STATE).exists():
        for earlier in folder.parent.glob(f"*/{ENDED}"):
            _give_up(earlier.parent)
        record.write_json(folder / ENDED, ended)
    else:
        shutil.rmtree(folder)
    if made.exists():
        record.write_json(made / ENDED, ended)


def other(state: Path, stage: Stage, parameters: dict[str, Any]) -> tuple[str, str]:
    """Return how today's parameters, and data and code, differ from those that a state was begun
    with, in words. Both texts are empty if a run today continues from it. Raises `UserError` if the
    data is missing.
    """
    before = record.read_json(state / BEGUN)
    was = {name: v for name, v in before["parameters"].items() if not _is_layout(name)}
    now = record.flat({name: _computed(name, values) for name, values in parameters.items()})
    if told := _values_told(was, now):
        return _joined(told), ""
    told = _data_told(before["data"], record.hash_inputs(stage.data))
    if code := _differing(before["code"], _code(stage)):
        told.append(f"other code ({_joined(code)})")
    return "", _joined(told)


def sweep() -> None:
    """Remove the states whose results DVC has taken over."""
    ended_runs = [file for depth in ownership.STAGES for file in ROOT.glob(f"{depth}/*/{ENDED}")]
    for file in sorted(ended_runs):
        with contextlib.suppress(Timeout, OSError, UserError):  # in use, or not ours
            ended = record.read_json(file)
            if not ownership.is_in_dvc(Path(ended["result"]), ended["record"]):
                continue
            # The check takes a while, and the stage itself may want to start.
            with FileLock(file.parents[1] / "lock", timeout=0):
                if record.read_json(file) == ended:
                    _give_up(file.parent)


def _give_up(folder: Path) -> None:
    if folder.name == parts.FOLDER:
        parts.remove(folder.parent)
    else:
        shutil.rmtree(folder)


def _interrupted(folder: Path) -> bool:
    return (folder / STATE).exists() and not (folder / ENDED).exists()


def _code(stage: Stage) -> dict[str, str]:
    """Return what stage `code` wrote: a hash or version by the name of a module, table, package."""
    return {
        name: value
        for path in stage.code
        for part in record.read_json(Path(path)).values()
        for name, value in part.items()
    }


def _computed(section: str, values: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if k not in LAYOUT.get(section, ())}


def _is_layout(name: str) -> bool:
    section, _, key = name.partition(".")
    return key.partition(".")[0] in LAYOUT.get(section, ())


def _told(file: Path, begun: Begun) -> str:
    """Return the differences in words: `pretrain.seed 1, now 2`, or the path of other data."""
    before = record.read_json(file)
    told = _values_told(before["parameters"], begun["parameters"])
    told += _data_told(before["data"], begun["data"])
    return _joined(told) or "the same parameters and data"


def _joined(told: list[str]) -> str:
    more = [f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []
    return "; ".join([*told[:MOST_TOLD], *more])


def _values_told(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [f"{name} {was.get(name)}, now {now.get(name)}" for name in _differing(was, now)]


def _data_told(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [f"other data in {path}" for path in _differing(was, now)]


def _differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = sorted(before.keys() | now.keys())
    return [name for name in names if before.get(name) != now.get(name)]
