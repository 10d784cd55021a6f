"""Read the results of the stages: records, metrics, curves, samples, scores; and the lock file.

Input: the folders of the stages. Output: one `Results`, whose keys are addresses of stages or
variants (`classify@all`).
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.contract.known import SOURCES
from llmill.contract.skipped import KEY as SKIPPED

if TYPE_CHECKING:
    from llmill.contract.pipeline import Stage

LOCK = Path("requirements.lock")
CURVE = "curves.csv"

Curve = list[dict[str, float]]  # a row holds only the metrics measured at its step


@dataclass(frozen=True)
class Results:
    """All data of the report. Keys are addresses, except `sources` (roles) and `scores` (models).

    For a skipped stage, `metrics` gives the reason, and `variants` and `curves` do not contain it.
    """

    variants: Mapping[str, Sequence[str]]
    folders: dict[str, str]  # by stage, above its variants
    records: dict[str, dict[str, Any]]
    digests: dict[str, str]  # sha256 of each record
    metrics: dict[str, dict[str, Any]]
    curves: dict[str, Curve]
    sources: dict[str, list[dict[str, Any]]]
    samples: list[dict[str, Any]]
    scores: dict[str, list[dict[str, Any]]]
    heldout: list[dict[str, Any]]
    packages: list[tuple[str, str]]

    def made(self, stage: str) -> list[str]:
        """Return the addresses of a stage, without skipped ones."""
        return [a for a, m in self.metrics.items() if stage_of(a) == stage and SKIPPED not in m]

    def skipped(self, stage: str) -> str | None:
        """Return why all variants of a stage were skipped; None if any ran."""
        reasons = [m.get(SKIPPED) for a, m in self.metrics.items() if stage_of(a) == stage]
        return reasons[0] if reasons and all(reasons) else None


def read(stages: Mapping[str, Stage], inputs: Collection[Path]) -> Results:
    """Read all results. Raise `UserError` for the first file that is missing or damaged.

    `stages` are by address, in the order of the chain, without the stage that reads.
    """
    folders = {address: Path(stage.out) for address, stage in stages.items()}
    metrics = {a: record.read_json(f / "metrics.json") for a, f in folders.items()}
    variants: dict[str, list[str]] = {}
    for address, stage in stages.items():
        if stage.variant:
            variants.setdefault(stage.name, [])
            if SKIPPED not in metrics[address]:
                variants[stage.name].append(stage.variant)
    return Results(
        variants=variants,
        folders={s.name: str(Path(s.out).parent) if s.variant else s.out for s in stages.values()},
        records={a: record.read_json(f / record.NAME) for a, f in folders.items()},
        digests={a: record.sha256_file(f / record.NAME) for a, f in folders.items()},
        metrics=metrics,
        curves={
            a: curve(f / CURVE)
            for a, f in folders.items()
            if f / CURVE in inputs and SKIPPED not in metrics[a]
        },
        sources={file.parent.name: record.read_json(file) for file in _sources(inputs)},
        samples=record.read_json(folders["pretrain"] / "samples.json"),
        scores={
            m: record.read_json(folders[f"judge@{m}"] / "scores.json") for m in variants["judge"]
        },
        heldout=record.read_json(folders["grader"] / "heldout.json"),
        packages=packages(LOCK),
    )


def stage_of(address: str) -> str:
    """Return the stage of an address: `classify` for `classify@all`."""
    return address.partition("@")[0]


def variant_of(address: str) -> str:
    """Return the variant of an address: `all` for `classify@all`, "" without variants."""
    return address.partition("@")[2]


def curve(path: Path) -> Curve:
    """Read the rows of a `curves.csv` as numbers, without empty cells."""
    rows = csv.DictReader(_text(path).splitlines())
    try:
        return [{k: float(v) for k, v in row.items() if v} for row in rows]
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{path}: not a valid file of curves ({error}); `dvc checkout` restores it"
        ) from None


def packages(path: Path) -> list[tuple[str, str]]:
    """Read the name and exact version of every package in a lock file."""
    lines = (line.strip() for line in _text(path).splitlines())
    pairs = (line.partition("==")[::2] for line in lines if line and not line.startswith("#"))
    return [(name, version) for name, version in pairs]


def _sources(inputs: Iterable[Path]) -> list[Path]:
    """Return the lists of downloaded sources, that of the text first."""
    files = (file for file in inputs if file.name == SOURCES)
    return sorted(files, key=lambda file: (file.parent.name != "text", file.parent.name))


def _text(path: Path) -> str:
    if not path.exists():
        raise UserError(f"{path}: missing; `dvc pull`, or `dvc repro` of the stage that makes it")
    return path.read_text(encoding="utf-8")
