"""Audit what a stage opens and imports: under the roots of data and results only what `dvc.yaml`
declares for it, and of llmill's own files only what stage `code` recorded.

The audit is off unless LLMILL_AUDIT is set (tests set it). An undeclared read would make DVC miss a
change.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from importlib.util import source_from_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmill.contract import record
from llmill.contract.closure import PACKAGE, SourceTree
from llmill.runner import params

if TYPE_CHECKING:
    from llmill.contract.pipeline import Stage

VARIABLE = "LLMILL_AUDIT"
LOADED = frozenset(sys.modules)  # before any stage, by the command line
RUNNER = "llmill.runner.stage"

_allowed: set[Path] | None = None  # an audit hook cannot be removed, so it checks this
_watched: set[Path] = set()


@contextlib.contextmanager
def only(stage: Stage) -> Iterator[None]:
    """Raise if an undeclared file is opened in this context, and at its end for an undeclared
    module.
    """
    global _allowed, _watched
    if not os.environ.get(VARIABLE):
        yield
        return
    modules, files = _code(stage)
    out = Path(stage.out).resolve()
    declared = (Path(d).resolve() for d in stage.deps)
    _allowed = {out, out.with_name(out.name + ".tmp"), *declared, *files}
    roots = (root for _, root in params.load().paths)
    _watched = {Path(folder).resolve() for folder in (*roots, f"src/{PACKAGE}")}
    sys.addaudithook(_hook)
    try:
        yield
        loaded = {name for name in sys.modules if name.startswith(f"{PACKAGE}.")}
        if undeclared := sorted(loaded - modules - LOADED):
            raise PermissionError(f"{undeclared[0]}: imported, but not among the stage's code")
    finally:
        _allowed = None


def _code(stage: Stage) -> tuple[set[str], set[Path]]:
    """Return the modules that the stage may import and the files of llmill that it may open."""
    source = SourceTree()
    listed = [record.read_json(Path(path)) for path in stage.code]
    allowed = {name for code in listed for name in code["modules"]}
    if not stage.code:  # stages before `code` depend on their source directly
        allowed |= {module.name for module in source.closure(f"{PACKAGE}.stages.{stage.name}")}
    allowed |= {module.name for module in source.closure(RUNNER)}
    packages = (name for name, file in source.modules.items() if file.name == "__init__.py")
    allowed |= {name for name in packages if not source.module(name).has_code}
    files = {source.modules[name].resolve() for name in allowed & source.modules.keys()}
    tables = {(source.root / name).resolve() for code in listed for name in code["tables"]}
    return allowed, files | tables


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or _allowed is None or not isinstance(arguments[0], str | os.PathLike):
        return
    path = Path(os.path.abspath(os.fspath(arguments[0])))
    if not any(path.is_relative_to(root) for root in _watched):
        return
    if path.parent.name == "__pycache__":
        path = Path(source_from_cache(os.fspath(path).partition(".pyc")[0] + ".pyc"))
    if not any(path.is_relative_to(allowed) for allowed in _allowed):
        raise PermissionError(
            f"{path.relative_to(Path.cwd())}: opened, but no dependency in dvc.yaml"
        )
