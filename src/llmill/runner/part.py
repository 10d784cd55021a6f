"""Make some of the parts of a stage's work, before the stage runs and in parallel with similar
jobs.

Input: a stage's name, and a share of its parts, as `3-of-8`. Output: those parts, below the stage's
scratch folder.
"""

import importlib
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from llmill.contract import closure, pipeline, record, source
from llmill.contract.countdown import tell
from llmill.contract.errors import UserError
from llmill.contract.job import Job
from llmill.contract.parts import FOLDER, Part
from llmill.contract.pipeline import Stage
from llmill.runner import audit, params, scratch, skipping
from llmill.runner.stopping import Stop
from llmill.runner.tracking import Track

Versions = dict[str, str | tuple[int, int] | None]
SHARE = re.compile(r"([1-9]\d{0,8})-of-([1-9]\d{0,8})")


def make_parts(name: str, share: str) -> None:
    """Make every part of this share that does not exist yet."""
    source.refuse_other_source()
    number, n = _share(share)
    tree = params.load()
    stages = params.stages(tree)
    known = {stage.address: stage for stage in stages.values() if stage.meta.parts}
    if name not in known:
        raise UserError(
            f"{name}: the work of this stage does not fall into parts; choose {', '.join(known)}"
        )
    stage = known[name]
    if skipping.reason(stage):
        return
    before = _versions(stage, stages)
    code = closure.code_of(closure.SourceTree(), name, closure.read_lock())
    if record.read_json(Path(stage.code[0])) != code:  # parts are named by it
        tell(name, f"share {share}: skipped, because {stage.code[0]} is of different source code")
        return
    module = importlib.import_module(f"llmill.stages.{name}")
    parameters = params.select(tree, module.Parameters, stage)
    folder = scratch.ROOT / stage.address / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    scratch.use_parts(folder.parent)
    stop = Stop()
    stop.listen()
    # Not the stage's own folder: what is written besides the parts is thrown away.
    out = Path(tempfile.mkdtemp(prefix="job.", dir=folder))
    job = Job(stage, stages, out, folder, Track(folder, off=True), stop)
    try:
        with audit.only(stage):
            found = module.parts(parameters, job)
            mine = found[number - 1 :: n]
            store = job.parts
            for part in mine:
                store.made(_checked(part, lambda: _refuse_changed(stage, stages, before, share)))
        job.say(f"share {share}: {len(mine)} of {len(found)} parts")
    finally:
        stop.ignore()
        shutil.rmtree(out, ignore_errors=True)


def _checked(part: Part, check: Callable[[], None]) -> Part:
    """Return the part with a check between its writing and the moment from which it counts. The
    check comes first if the writing fails, because it may know the reason.
    """

    def write(folder: Path) -> None:
        try:
            part.write(folder)
        except (OSError, UserError):
            check()
            raise
        check()

    return replace(part, write=write)


def _refuse_changed(stage: Stage, stages: dict[str, Stage], before: Versions, share: str) -> None:
    """Raise `UserError` if what the stage reads is no longer what it was.

    A share does not take DVC's lock, so an edit of source or data may reach its inputs. A part of
    the old code or data could then lie under the name of the new, and the stage would trust it.
    """
    now = _versions(stage, stages)
    for name, version in before.items():
        if now[name] != version:
            raise UserError(
                f"{stage.address}: the result of stage {name} was made anew or removed while share "
                f"{share} was made, so the part at work is not kept; once it is there, the same "
                "command makes the rest from it"
            )


def _versions(stage: Stage, stages: dict[str, Stage]) -> Versions:
    """Return what tells whether a stage that this one reads has run again, by its address: the hash
    of the code file, and time and size of the records of the others. None for what is not there.
    """
    code = Path(stage.code[0])
    versions: Versions = {closure.STAGE: record.sha256_file(code) if code.exists() else None}
    for each in pipeline.parents(stages, stage):
        file = Path(each.out, record.NAME)  # may be no input of the stage, so it is not opened
        try:
            status = file.stat()
        except FileNotFoundError:
            versions[each.address] = None
        else:
            versions[each.address] = status.st_mtime_ns, status.st_size
    return versions


def _share(text: str) -> tuple[int, int]:
    match = SHARE.fullmatch(text)
    number, n = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= n:
        raise UserError(f"{text!r} is no share of the parts; write one as 3-of-8")
    return number, n
