"""Make some of the parts of a stage's work, before the stage runs and in parallel with similar
jobs.

Input: a stage's name, and a share of its parts, as `3-of-8`. Output: those parts, below the stage's
scratch folder.
"""

import importlib
import re
import shutil
import tempfile
from pathlib import Path

from llmill.contract import closure, record, source
from llmill.contract.countdown import tell
from llmill.contract.errors import UserError
from llmill.contract.job import Job
from llmill.contract.parts import FOLDER
from llmill.runner import audit, params, scratch, skipping
from llmill.runner.stopping import Stop
from llmill.runner.tracking import Track

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
                store.made(part)
        job.say(f"share {share}: {len(mine)} of {len(found)} parts")
    finally:
        stop.ignore()
        shutil.rmtree(out, ignore_errors=True)


def _share(text: str) -> tuple[int, int]:
    match = SHARE.fullmatch(text)
    number, n = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= n:
        raise UserError(f"{text!r} is no share of the parts; write one as 3-of-8")
    return number, n
