"""Record the code of each stage: all that it imports, by content.

    python -m llmill code

Input: `src/llmill`, the lock file. Output: one file per stage, its only dependency on code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmill.contract import closure, record
from llmill.contract.values import Section

if TYPE_CHECKING:
    from llmill.contract.job import Job
    from llmill.contract.pipeline import Stage


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""


def run(params: Parameters, job: Job) -> None:
    """Write the files. Report packages whose installed version is not the locked one."""
    written = files(job.stages)
    for name, value in written.items():
        record.write_json(job.out / name, value)
    # The code files name the locked versions, so another one would change results unnoticed.
    locked = {name: v for each in written.values() for name, v in each["packages"].items()}
    for name in sorted(locked):
        found = closure.installed(name)
        if found != locked[name]:
            job.say(
                f"{name} {found or 'is not installed'}, locked {locked[name]}: results would be "
                "recorded as of the locked version; `make setup` installs it"
            )


def files(stages: dict[str, Stage]) -> dict[str, closure.Code]:
    """Return the code file of every stage that depends on one, by file name."""
    # One tree for all stages, because they share most modules.
    source, locked = closure.SourceTree(), closure.read_lock()
    return {
        path.rpartition("/")[2]: closure.code_of(source, stage.name, locked)
        for stage in stages.values()
        for path in stage.code
    }
