"""Reads what the stages left: records, figures, curves, samples, scores; and the lock file.

In: the folders of the stages. Out: one `Results`, which names a stage or variant by its address
(`classify@all`).
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.contract.schema import Paths

STAGES = (
    "download",
    "prepare",
    "tokenizer",
    "tokenize",
    "pretrain",
    "classify",
    "instruct",
    "grader",
    "accuracy",
    "mmlu",
    "judge",
)
MATRIX = ("classify", "mmlu", "judge")
TRAINED = ("pretrain", "classify", "instruct", "grader")
LOCK = Path("requirements.lock")

Curve = list[dict[str, float]]  # a row holds only what was measured at its step


@dataclass(frozen=True)
class Results:
    """All that is shown. Keys are addresses, but for `sources` (roles) and `scores` (models)."""

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


def read(paths: Paths, variants: Mapping[str, Sequence[str]], roles: Iterable[str]) -> Results:
    """Read it all; raises `UserError` naming the first file that is missing or damaged."""
    folders = {a: _folder(paths, a) for a in addresses(variants)}
    return Results(
        variants=variants,
        folders={stage: getattr(paths, stage) for stage in STAGES},
        records={a: record.read_json(f / record.NAME) for a, f in folders.items()},
        digests={a: record.sha256_file(f / record.NAME) for a, f in folders.items()},
        metrics={a: record.read_json(f / "metrics.json") for a, f in folders.items()},
        curves={a: curve(f / "curves.csv") for a, f in folders.items() if stage_of(a) in TRAINED},
        sources={r: record.read_json(folders["download"] / r / "sources.json") for r in roles},
        samples=record.read_json(folders["pretrain"] / "samples.json"),
        scores={
            m: record.read_json(folders[f"judge@{m}"] / "scores.json") for m in variants["judge"]
        },
        heldout=record.read_json(folders["grader"] / "heldout.json"),
        packages=packages(LOCK),
    )


def addresses(variants: Mapping[str, Sequence[str]]) -> list[str]:
    """Every stage and variant, in the order of the chain."""
    return [
        f"{stage}@{variant}" if variant else stage
        for stage in STAGES
        for variant in (variants[stage] if stage in MATRIX else [""])
    ]


def stage_of(address: str) -> str:
    """`classify@all` is of stage `classify`."""
    return address.partition("@")[0]


def curve(path: Path) -> Curve:
    """The rows of a `curves.csv`, as numbers, without the empty cells."""
    rows = csv.DictReader(_text(path).splitlines())
    try:
        return [{k: float(v) for k, v in row.items() if v} for row in rows]
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: not a curve ({error}); `dvc checkout` restores it") from None


def packages(path: Path) -> list[tuple[str, str]]:
    """Name and exact version of every package of a lock file."""
    lines = (line.strip() for line in _text(path).splitlines())
    pairs = (line.partition("==")[::2] for line in lines if line and not line.startswith("#"))
    return [(name, version) for name, version in pairs]


def _folder(paths: Paths, address: str) -> Path:
    stage, _, variant = address.partition("@")
    return Path(getattr(paths, stage), variant)


def _text(path: Path) -> str:
    if not path.exists():
        raise UserError(f"{path}: missing; `dvc pull`, or `dvc repro` of the stage that makes it")
    return path.read_text(encoding="utf-8")
