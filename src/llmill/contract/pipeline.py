"""Read `dvc.yaml`, the only place that defines a stage's command, edges, outputs and needs.

Input: `dvc.yaml` and the values of `params.yaml`. Output: one `Stage` per stage and matrix value,
in the order of the file.
"""

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError

from llmill.contract import source, yaml_file
from llmill.contract.errors import UserError

FILE = Path("dvc.yaml")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Shown(_Entry):
    """A file in the stage's folder that `snakemake --report` shows."""

    file: str
    category: str
    caption: str  # a file in workflow/report
    labels: dict[str, str] | None = None  # columns of the report's table; the file's name if none


class Meta(_Entry):
    """The needs of a stage that a scheduler and the runner must know: its `meta`, which DVC carries
    along but does not read.
    """

    mem_mb: PositiveInt | None = None  # None: the profile's default
    threads: PositiveInt = 1  # if the stage's section of params.yaml has none
    gpu: NonNegativeInt = 0  # GPUs per process if runtime.device is cuda
    priority: int = 0  # among jobs that can start, the highest goes first
    report: list[Shown] = []
    parts: bool = False  # whether other jobs may do parts of its work before it (runner/part.py)
    null_roles: bool = False  # whether it runs if a role that it reads is null


@dataclass(frozen=True)
class Stage:
    """One stage, or one variant of a matrix stage, with every `${...}` filled in."""

    name: str
    variant: str | None
    cmd: str
    deps: tuple[str, ...]
    params: tuple[str, ...]  # sections, and switches such as `variants.all`
    out: str
    meta: Meta = field(default_factory=Meta)

    @property
    def address(self) -> str:
        """The name that DVC uses: `classify@all`."""
        return f"{self.name}@{self.variant}" if self.variant else self.name

    def log(self, results: Path) -> Path:
        """Return the log of its last real run, below the root of results; a skip leaves it."""
        return results / "logs" / f"{self.address.replace('@', '-')}.log"

    def cost(self, results: Path) -> Path:
        """Return the file with the cost of its last real run."""
        return results / "benchmarks" / f"{self.address.replace('@', '-')}.tsv"

    @property
    def sections(self) -> tuple[str, ...]:
        """The sections of `params.yaml` that the stage receives."""
        return tuple(name for name in self.params if "." not in name)

    @property
    def switches(self) -> tuple[str, ...]:
        """Single values of `params.yaml`, such as `variants.all`; the stage is left out if one is
        off.
        """
        return tuple(name for name in self.params if "." in name)

    @property
    def code(self) -> tuple[str, ...]:
        """The file that stage `code` writes about this stage's code."""
        return tuple(d for d in self.deps if d.endswith(f"/code/{self.name}.json"))

    @property
    def data(self) -> tuple[str, ...]:
        """The dependencies that are not code."""
        return tuple(d for d in self.deps if d not in self.code)


def load(values: dict[str, Any], file: Path = FILE) -> dict[str, Stage]:
    """Return the stages by address. `values` fill the templates (the `paths` of `params.yaml`)."""
    tree = yaml_file.load(file, source.in_root("work in the root of the repository"))
    if not isinstance(tree, dict) or not isinstance(entries := tree.get("stages"), dict):
        raise UserError(f"{file}: it has no stages; `git checkout {file}` restores it")
    stages = [s for name, entry in entries.items() for s in _variants(name, entry, values)]
    return {stage.address: stage for stage in stages}


def addresses(tree: Any) -> list[str]:
    """Return DVC's names of the stages in the values of a `dvc.yaml`, whatever else they hold."""
    entries = tree.get("stages") if isinstance(tree, dict) else None
    found = []
    for name, entry in (entries if isinstance(entries, dict) else {}).items():
        entry = entry if isinstance(entry, dict) else {}
        several = entry.get("foreach") or next(iter((entry.get("matrix") or {}).values()), None)
        found += [name] if several is None else [f"{name}@{variant}" for variant in several]
    return found


def variants(stages: dict[str, Stage], name: str) -> list[str]:
    """Return the matrix values of a stage, in the file's order."""
    return [s.variant for s in stages.values() if s.name == name and s.variant]


def folder(stages: dict[str, Stage], name: str) -> Path:
    """Return the folder of a stage's result: `pretrain`, or `classify/all` for a variant.

    Raises `UserError` for a name that is not a stage with one folder.
    """
    by_name = {stage.address.replace("@", "/", 1): stage for stage in stages.values()}
    if name not in by_name:
        near = difflib.get_close_matches(name, by_name, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(by_name)}"
        raise UserError(f"{name}: no such stage in {FILE}; {hint}")
    return Path(by_name[name].out)


def producer(stages: dict[str, Stage], path: str) -> Stage | None:
    """Return the stage whose folder holds `path`."""
    return next((s for s in stages.values() if path == s.out or path.startswith(s.out + "/")), None)


def parents(stages: dict[str, Stage], stage: Stage) -> list[Stage]:
    """Return the stages whose results this one reads, in the file's order, except for its code."""
    producers = [producer(stages, path) for path in stage.data]
    return [each for each in stages.values() if each in producers]


def _variants(name: str, entry: dict[str, Any], values: dict[str, Any]) -> list[Stage]:
    if "foreach" in entry:
        each, body = entry["foreach"].items(), entry["do"]
        return [_stage(name, key, body, {**values, "key": key, "item": item}) for key, item in each]
    if "matrix" not in entry:
        return [_stage(name, None, entry, values)]
    ((key, items),) = entry["matrix"].items()
    return [_stage(name, item, entry, {**values, "item": {key: item}}) for item in items]


def _stage(name: str, variant: str | None, entry: dict[str, Any], values: dict[str, Any]) -> Stage:
    def fill(text: str) -> str:
        return re.sub(r"\$\{([\w.]+)\}", lambda m: _lookup(values, m[1]), text)

    (out,) = entry["outs"]
    return Stage(
        name=name,
        variant=variant,
        cmd=fill(entry["cmd"]),
        deps=tuple(fill(d) for d in entry.get("deps", [])),
        params=tuple(fill(name) for name in entry.get("params", [])),
        out=fill(out),
        meta=_meta(name, entry.get("meta") or {}),
    )


def _meta(name: str, values: dict[str, Any]) -> Meta:
    try:
        return Meta.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("stages", name, "meta", *first["loc"]))
        if first["type"] == "extra_forbidden":
            allowed = ", ".join(Meta.model_fields if len(first["loc"]) == 1 else Shown.model_fields)
            raise UserError(f"{FILE}: {where} is unknown; known: {allowed}") from None
        message = yaml_file.one_line(f"{where} = {first['input']!r}: {first['msg']}")
        raise UserError(f"{FILE}: {message}") from None


def _lookup(values: dict[str, Any], dotted: str) -> str:
    for part in dotted.split("."):
        if part not in values:
            raise UserError(f"{FILE}: ${{{dotted}}} stands in no section of params.yaml")
        values = values[part]
    return str(values)
