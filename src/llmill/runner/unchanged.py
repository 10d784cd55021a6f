"""Whether what a stage was started with is still there. DVC looks at parameters, inputs and code
after the stage has ended, and would take what was edited meanwhile for what made the result.
"""

from pathlib import Path
from typing import Any

from llmill.contract import closure, dvc, pipeline, record
from llmill.contract.errors import UserError
from llmill.runner import params


def refuse_other_code(stage: pipeline.Stage) -> None:
    """Raises `UserError` where the source that would run is not the one that stage `code` read."""
    for file in map(Path, stage.code):
        source = closure.SourceTree()
        if source.last_edit() <= file.stat().st_mtime_ns:  # to read all modules takes a while
            continue
        code = closure.code_of(source, stage.name, closure.read_lock())
        if record.read_json(file) != code and not _accepted():
            raise UserError(
                f"{stage.address}: the source was edited after {file} was written; the same "
                "command again takes the edit in"
            )


def _accepted() -> bool:
    """Whether `dvc commit` has taken an edit as one that changes nothing."""
    try:
        return dvc.accepted("code")
    except UserError:  # no repository of DVC's
        return False


def refuse_edits(
    stage: pipeline.Stage,
    stages: dict[str, pipeline.Stage],
    parameters: dict[str, Any],
    inputs: dict[str, str],
) -> None:
    """Raises `UserError` where somebody has edited the parameters, or an input that no stage makes,
    while the stage ran.
    """
    now = record.flat(params.values(params.load(), stage.params))
    then = record.flat(parameters)
    edited = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    given = [path for path in stage.deps if pipeline.producer(stages, path) is None]
    after = record.hash_inputs(given)
    edited += [path for path in given if after[path] != inputs[path]]
    if edited:
        raise UserError(
            f"{stage.address}: {', '.join(edited)} edited while it ran, so its result is not kept; "
            "the same command runs it as it is now"
        )
