"""Write down what the code of each stage is: what it imports, by content.

    python -m llmill code

In: `src/llmill`, the lock file. Out: a file for each stage, which is its only dependency on code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmill.contract import closure, record
from llmill.contract.values import Section

if TYPE_CHECKING:
    from llmill.contract.job import Job


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""


def run(params: Parameters, job: Job) -> None:
    """Of every stage that depends on its file."""
    # Read once: the stages share most of their modules.
    source, locked = closure.SourceTree(), closure.read_lock()
    for stage in job.stages.values():
        for path in stage.code:
            name = path.rpartition("/")[2]
            record.write_json(job.out / name, closure.code_of(source, stage.name, locked))
