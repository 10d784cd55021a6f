"""An audit of what a stage opens: under `paths.data` and `paths.results` only what `dvc.yaml`
declares for it.

Off unless LLMILL_AUDIT is set (tests set it); an undeclared read would make DVC miss a change.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmill.contract import params
from llmill.contract.pipeline import Stage

VARIABLE = "LLMILL_AUDIT"

_allowed: list[Path] | None = None  # an audit hook cannot be removed, so it asks this
_watched: list[Path] = []


@contextlib.contextmanager
def only(stage: Stage) -> Iterator[None]:
    """Inside, opening an undeclared file below one of the two roots raises."""
    global _allowed, _watched
    if not os.environ.get(VARIABLE):
        yield
        return
    out = Path(stage.out).resolve()
    _allowed = [out, out.with_name(out.name + ".tmp"), *(Path(d).resolve() for d in stage.deps)]
    _watched = [Path(root).resolve() for _, root in params.load().paths]
    sys.addaudithook(_hook)
    try:
        yield
    finally:
        _allowed = None


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or _allowed is None or not isinstance(arguments[0], str | os.PathLike):
        return
    path = Path(os.path.abspath(os.fspath(arguments[0])))
    if not any(path.is_relative_to(root) for root in _watched):
        return
    if not any(path.is_relative_to(allowed) for allowed in _allowed):
        raise PermissionError(
            f"{path.relative_to(Path.cwd())}: opened, but no dependency in dvc.yaml"
        )
