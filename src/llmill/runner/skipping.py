"""Skip a stage that has no data because a role of `download` is null, or that `params.yaml` has
switched off. It leaves a mark in place of its result, so that either command also skips the stages
that read it.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from llmill.contract import record, skipped
from llmill.contract.job import Job
from llmill.contract.pipeline import Stage
from llmill.runner import params
from llmill.runner.tree import Params
from llmill.stages.settings.download import SINGLE

METRICS = "metrics.json"
CURVE = b"step,train_loss\n"  # the columns that `plots` in dvc.yaml reads


def reason(stage: Stage) -> str | None:
    """Return why the stage is skipped, from the mark in a folder that it reads. A stage that knows
    null roles checks them itself.
    """
    if stage.meta.null_roles:
        return None
    return next(filter(None, (skipped.reason(Path(path)) for path in stage.data)), None)


def switched_off(stage: Stage, parameters: Mapping[str, Any]) -> str | None:
    """Return why the stage is left out, namely a switch that is off, or None."""
    for name in stage.switches:
        section, _, key = name.partition(".")
        if not parameters[section][key]:
            return f"{name} is false"
    return None


def foreseen(tree: Params, stages: Mapping[str, Stage]) -> dict[str, str]:
    """Return why each stage will be skipped, by address, before any of them has run. `stages` are
    in the order of the chain.
    """
    out, found = PurePosixPath(stages["prepare"].out), {}
    marked = {
        out / role: f"download.{role} is null"
        for role in SINGLE
        if getattr(tree.download, role) is None
    }
    for stage in stages.values():
        read = () if stage.meta.null_roles else map(PurePosixPath, stage.data)
        folders = [path for path in read if not path.suffix]  # a mark lies in a folder
        marks = (why for path in folders for mark, why in marked.items() if _within(path, mark))
        why = next(marks, None) or switched_off(stage, params.values(tree, stage.params))
        if why:
            found[stage.address] = marked[PurePosixPath(stage.out)] = why
    return found


def _within(path: PurePosixPath, folder: PurePosixPath) -> bool:
    return path == folder or folder in path.parents


def run(why: str, job: Job) -> None:
    """Leave the mark, and a file without rows or a mark at each path that another stage reads."""
    skipped.write(job.out, why)
    for path in sorted(_read_by_others(job)):
        place = job.out / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            record.write_json(place, [])
        elif path.suffix == ".csv":  # DVC warns of an empty file; plots show this one as no curve
            record.write_bytes(place, CURVE)
        elif path.suffix:
            record.write_bytes(place, b"")
        else:
            skipped.write(place, why)
    record.write_json(job.out / METRICS, {skipped.KEY: why})
    job.say(f"skipped: {why}")


def _read_by_others(job: Job) -> set[PurePosixPath]:
    """Return the paths below the stage's folder that some stage depends on."""
    out = PurePosixPath(job.stage.out)
    paths = {PurePosixPath(dep) for stage in job.stages.values() for dep in stage.deps}
    below = {path.relative_to(out) for path in paths if path.is_relative_to(out) and path != out}
    return below - {PurePosixPath(record.NAME), PurePosixPath(METRICS)}
