"""Refuse roots with foreign files in the place of results, before DVC removes any of them.

    python -m llmill paths

Input: the two roots. Output: `roots.json`, which names them. Every other stage depends on this one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmill.contract import ownership, record
from llmill.contract.values import Section
from llmill.stages.settings.paths import Paths

if TYPE_CHECKING:
    from llmill.contract.job import Job


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    paths: Paths


def run(params: Parameters, job: Job) -> None:
    """Check the place of every stage's folder."""
    # Check all stages now: DVC removes a stage's folder before that stage could check it.
    for stage in job.stages.values():
        ownership.refuse_foreign(Path(stage.out))
    for name, value in files(params.paths).items():
        record.write_json(job.out / name, value)


def files(paths: Paths) -> dict[str, Any]:
    """Return the files of this stage, by name."""
    return {"roots.json": paths.model_dump()}
