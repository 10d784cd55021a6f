"""Refuse roots in which files of somebody else stand where results belong, before DVC removes any.

    python -m llmill paths

In: the two roots. Out: `roots.json`, which names them; every other stage follows this one.
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
    """Look at the place of every stage's folder."""
    # Of all stages now: DVC removes a stage's folder before that stage itself could look.
    for stage in job.stages.values():
        ownership.refuse_foreign(Path(stage.out))
    for name, value in files(params.paths).items():
        record.write_json(job.out / name, value)


def files(paths: Paths) -> dict[str, Any]:
    """What it writes, by name."""
    return {"roots.json": paths.model_dump()}
