"""Whether what a stage was started with is still there. DVC looks at parameters and inputs after
the stage has ended, and would take what was edited meanwhile for what made the result.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmill.contract import closure, pipeline, record, yaml_file
from llmill.contract.errors import UserError
from llmill.runner import params

TRIES, PAUSE = 5, 1.0  # seconds between them: a file may be in the middle of being saved


@dataclass(frozen=True)
class Given:
    """What a person may edit of what a stage is made from: values of `params.yaml`, and files of
    inputs that no stage makes, by time and size.
    """

    values: dict[str, Any]
    files: dict[str, tuple[int, int]]


def given(stage: pipeline.Stage, stages: dict[str, pipeline.Stage]) -> Given:
    """What is there now; raises `UserError` where it cannot be read."""
    tree = yaml_file.load(params.FILE, "it was there when the stage began")
    values = {name: _at(tree, name.split(".")) for name in stage.params}
    inputs = [Path(path) for path in stage.deps if pipeline.producer(stages, path) is None]
    found = [file for path in inputs for file in (record.files_under(path) or [path])]
    files = {}
    for file in found:
        if not closure.is_left(file.name) and file.exists():
            status = file.stat()
            files[file.as_posix()] = (status.st_mtime_ns, status.st_size)
    return Given(record.flat(values), files)


def refuse_edits(stage: pipeline.Stage, stages: dict[str, pipeline.Stage], before: Given) -> None:
    """Raises `UserError` where somebody has edited them while the stage ran."""
    for again in reversed(range(TRIES)):
        try:
            after = given(stage, stages)
            break
        except UserError as error:
            if not again:
                raise UserError(f"{error}; so the result of {stage.address} is not kept") from None
            time.sleep(PAUSE)
    edited = _differing(before.values, after.values) + _differing(before.files, after.files)
    if edited:
        raise UserError(
            f"{stage.address}: {', '.join(edited)} changed while it ran, so its result is not "
            "kept; the same command runs it as it is now"
        )


def refuse_other_code(stage: pipeline.Stage) -> None:
    """Raises `UserError` where the source that would run is not the one that stage `code` read."""
    for file in map(Path, stage.code):
        read = record.read_json(file)
        source = closure.SourceTree()
        if source.last_edit() <= file.stat().st_mtime_ns:  # to read all modules takes a while
            continue
        if read != closure.code_of(source, stage.name, closure.read_lock()) and not _accepted():
            raise UserError(
                f"{stage.address}: the source was edited after {file} was written; `dvc repro` or "
                "`snakemake` takes the edit in"
            )


def _accepted() -> bool:
    """Whether `dvc commit` has taken the source of now as one that changes nothing.

    Not by `dvc status`: DVC itself may be running the stage, and would be in its way.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            (code,) = repo.stage.collect(closure.STAGE)
            return not any(dep.changed_checksum() for dep in code.deps)
    except (DvcException, ValueError):  # no repository of DVC's, or no such stage in it
        return False


def _at(tree: Any, names: list[str]) -> Any:
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def _differing(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [n for n in sorted({*before, *after}) if before.get(n) != after.get(n)]
