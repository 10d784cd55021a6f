"""Check that the inputs a stage was started with are unchanged. DVC hashes parameters and inputs
after the stage has ended, and would take edits made meanwhile for what made the result.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmill.contract import closure, pipeline, record, yaml_file
from llmill.contract.errors import UserError
from llmill.runner import params

TRIES, PAUSE = 5, 1.0  # seconds between them; a file may be just being saved


@dataclass(frozen=True)
class Given:
    """The inputs of a stage that a person may edit: values of `params.yaml`, and files that no
    stage makes, by time and size.
    """

    values: dict[str, Any]
    files: dict[str, tuple[int, int]]


def given(stage: pipeline.Stage, stages: dict[str, pipeline.Stage]) -> Given:
    """Return the present values and files. Raises `UserError` if they cannot be read."""
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
    """Raise `UserError` if somebody has edited the values or files while the stage ran."""
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
    """Raise `UserError` if the source that would run is not the one that stage `code` read."""
    for file in map(Path, stage.code):
        read = record.read_json(file)
        source = closure.SourceTree()
        if source.last_edit() <= file.stat().st_mtime_ns:  # reading all modules takes a while
            continue
        if read != closure.code_of(source, stage.name, closure.read_lock()) and not _accepted():
            raise UserError(
                f"{stage.address}: the source was edited after {file} was written; `dvc repro` or "
                "`snakemake` takes the edit in"
            )


def _accepted() -> bool:
    """Return whether `dvc commit` has accepted the present source as one that changes nothing.

    This does not run `dvc status`: DVC itself may be running the stage, and the command would be in
    its way.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            (code,) = repo.stage.collect(closure.STAGE)
            return not any(dep.changed_checksum() for dep in code.deps)
    except (DvcException, ValueError):  # not a DVC repository, or no such stage in it
        return False


def _at(tree: Any, names: list[str]) -> Any:
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def _differing(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [n for n in sorted({*before, *after}) if before.get(n) != after.get(n)]
