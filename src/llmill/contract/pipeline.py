"""Reads `dvc.yaml`, the one place where a stage's command, edges and outputs stand.

In: `dvc.yaml` and the values of `params.yaml`. Out: one `Stage` per stage and matrix value, in the
file's order.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmill.contract import source, yaml_file
from llmill.contract.errors import UserError

FILE = Path("dvc.yaml")


@dataclass(frozen=True)
class Stage:
    """One stage, or one variant of a matrix stage, with every `${...}` filled in."""

    name: str
    variant: str | None
    cmd: str
    deps: tuple[str, ...]
    params: tuple[str, ...]
    out: str

    @property
    def address(self) -> str:
        """What DVC calls it: `classify@all`."""
        return f"{self.name}@{self.variant}" if self.variant else self.name

    def log(self, results: Path) -> Path:
        """What its last real run said, below the root of results; a skipped one leaves it alone."""
        return results / "logs" / f"{self.address.replace('@', '-')}.log"

    def cost(self, results: Path) -> Path:
        """What that run took."""
        return results / "benchmarks" / f"{self.address.replace('@', '-')}.tsv"

    @property
    def code(self) -> tuple[str, ...]:
        """The file that stage `code` writes about this stage's code."""
        return tuple(d for d in self.deps if d.endswith(f"/code/{self.name}.json"))

    @property
    def data(self) -> tuple[str, ...]:
        """The dependencies that are not code."""
        return tuple(d for d in self.deps if d not in self.code)


def load(values: dict[str, Any], file: Path = FILE) -> dict[str, Stage]:
    """Stages by address. `values` fill the templates (the `paths` of `params.yaml`)."""
    tree = yaml_file.load(file, source.in_root("work in the root of the repository"))
    if not isinstance(tree, dict) or not isinstance(entries := tree.get("stages"), dict):
        raise UserError(f"{file}: it has no stages; `git checkout {file}` restores it")
    stages = [s for name, entry in entries.items() for s in _variants(name, entry, values)]
    return {stage.address: stage for stage in stages}


def variants(stages: dict[str, Stage], name: str) -> list[str]:
    """The matrix values of a stage, in the file's order."""
    return [s.variant for s in stages.values() if s.name == name and s.variant]


def producer(stages: dict[str, Stage], path: str) -> Stage | None:
    """The stage whose folder holds `path`."""
    return next((s for s in stages.values() if path == s.out or path.startswith(s.out + "/")), None)


def parents(stages: dict[str, Stage], stage: Stage) -> list[Stage]:
    """The stages whose results this one reads, in the file's order; its code is none."""
    found = [producer(stages, path) for path in stage.data]
    return [each for each in stages.values() if each in found]


def _variants(name: str, entry: dict[str, Any], values: dict[str, Any]) -> list[Stage]:
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
        params=tuple(entry.get("params", [])),
        out=fill(out),
    )


def _lookup(values: dict[str, Any], dotted: str) -> str:
    for part in dotted.split("."):
        if part not in values:
            raise UserError(f"{FILE}: ${{{dotted}}} stands in no section of params.yaml")
        values = values[part]
    return str(values)
