"""Read `params.yaml`. `load` refuses invalid values with one line; `select` gives a stage only the
sections that it names.
"""

import difflib
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from llmill.contract import pipeline, source, yaml_file
from llmill.contract.errors import UserError
from llmill.contract.pipeline import Stage
from llmill.contract.values import Section
from llmill.model.settings import FromInit, Model
from llmill.runner.tree import Params
from llmill.stages.settings.download import NAMED, OwnFile, OwnQuestions, OwnTable, OwnText

Kind = TypeVar("Kind", bound=Section)

FILE = Path("params.yaml")
MOST_BYTES = 100_000  # twenty times the longest preset
MAKE = "`llmill preset world` makes one"
LISTS = {"download.text": ", e.g. [world, {file: own/novel.txt}]"}
SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = SHORT.maxlong = 80
# The forms of a value. pydantic's errors contain their names, which do not help a reader.
FORMS: dict[str, Any] = {
    form.__name__: form for form in (Model, FromInit, OwnFile, OwnQuestions, OwnTable, OwnText)
} | {NAMED: str}


def select(tree: Params, kind: type[Kind], stage: Stage) -> Kind:
    """Return the sections that a stage receives, typed. Raises `UserError` if `dvc.yaml` lists
    others: a change would then redo too much or too little.
    """
    if set(kind.model_fields) != set(stage.sections):
        raise UserError(
            f"dvc.yaml: {stage.name} lists params {sorted(stage.sections)}, its class Parameters "
            f"{sorted(kind.model_fields)}; make them agree"
        )
    return kind(**{name: getattr(tree, name) for name in stage.sections})


def values(tree: Params, names: Iterable[str]) -> dict[str, Any]:
    """Return sections, or single values of them, as plain values for a record."""
    found: dict[str, Any] = {}
    for name in names:
        section, _, key = name.partition(".")
        whole = getattr(tree, section).model_dump(mode="json")
        found[section] = {key: whole[key]} if key else whole
    return found


def stages(tree: Params, file: Path = pipeline.FILE) -> dict[str, Stage]:
    """Return the stages of `dvc.yaml` below these roots, by address."""
    return pipeline.load({"paths": tree.paths.model_dump()}, file)


def load(file: Path = FILE) -> Params:
    """Read and check a parameter file. Raises `UserError` with one line about the first problem."""
    return check(yaml_file.load(file, source.in_root(MAKE), MOST_BYTES), file)


def check(values: Any, file: Path) -> Params:
    """Return the parameters from a file's values. Raises `UserError` as `load` does."""
    if not isinstance(values, dict):
        kind = "nothing" if values is None else type(values).__name__
        raise UserError(f"{file}: expected sections, found {kind}")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise UserError(yaml_file.one_line(f"{file}: {_first(error)}")) from None


def _first(error: ValidationError) -> str:
    kind = error.errors()
    unknown = [e for e in kind if e["type"] == "extra_forbidden"]  # reported before a missing one
    first = (unknown or kind)[0]
    named = (str(part) for part in first["loc"] if part not in FORMS)
    where = ".".join(part for part in named if "[" not in part)  # pydantic's names of types
    if first["type"] == "extra_forbidden":
        allowed = list(_fields_at(first["loc"][:-1]))
        near = difflib.get_close_matches(str(first["loc"][-1]), allowed, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(allowed)}"
        return f"unknown parameter '{where}'; {hint}"
    if first["type"] == "missing":
        return f"missing parameter '{where}'"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "list_type":
        message = f"expected a list{LISTS.get(where, '')}"
    shown = "" if isinstance(first["input"], dict | BaseModel) else f" = {_shown(first['input'])}"
    return f"{where}{shown}: {message}" if where else message


def _shown(value: Any) -> str:
    """Return a value in few words, whatever its size."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a number of more than 30 digits"
    return SHORT.repr(value)


def _fields_at(location: tuple[int | str, ...]) -> Iterable[str]:
    model: Any = Params
    for part in location:
        if part in FORMS:
            model = FORMS[part]
        elif (
            isinstance(part, str) and hasattr(model, "model_fields") and part in model.model_fields
        ):
            model = model.model_fields[part].annotation
    return getattr(model, "model_fields", {})
