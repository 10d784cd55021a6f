"""Refuse roots in which files of somebody else stand where results belong, before DVC removes any.

    python -m llmill paths

In: the two roots. Out: `roots.json`, which names them; every other stage follows this one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmill.contract import ownership, record

if TYPE_CHECKING:
    from llmill.contract.params import Selected
    from llmill.contract.schema import Paths
    from llmill.contract.stage import Job


def run(params: Selected, job: Job) -> None:
    """Look at the place of every stage's folder."""
    for stage in job.stages.values():
        ownership.refuse_foreign(Path(stage.out))
    for name, value in files(params.paths).items():
        record.write_json(job.out / name, value)


def files(paths: Paths) -> dict[str, Any]:
    """What it writes, by name."""
    return {"roots.json": paths.model_dump()}
