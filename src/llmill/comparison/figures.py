"""The metrics of both sides: the report's headlines, each read from the `metrics.json` of the stage
that measured it, and every other number there.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from llmill.report import form
from llmill.report.about import ABOUT

SAME = "The same, "  # how a group of an older report begins that continues the one before


@dataclass(frozen=True)
class Figure:
    """One metric before and after: an interval, a number, or None if a side has none."""

    key: str  # as in `results/report/metrics.json`
    address: str  # the stage that measured it
    group: str
    name: str
    unit: str  # one of `form.number`'s
    before: Any
    after: Any

    @property
    def has_moved(self) -> bool:
        """Whether both sides have it, with different values."""
        values = form.value_of(self.before), form.value_of(self.after)
        return None not in values and values[0] != values[1]

    @property
    def has_stayed(self) -> bool:
        """Whether both sides have it, with the same value."""
        values = form.value_of(self.before), form.value_of(self.after)
        return None not in values and values[0] == values[1]

    @property
    def is_alone(self) -> bool:
        """Whether only one side has it."""
        return (form.value_of(self.before) is None) != (form.value_of(self.after) is None)


def place(key: str, addresses: Collection[str]) -> tuple[str, list[str]]:
    """Return the stage that measured a headline metric, and the possible paths in its
    `metrics.json`; none for a metric that the report itself computes.
    """
    stage, _, rest = key.partition(".")
    if stage == "classify":
        return "accuracy", _of_classifiers(rest)
    if stage == "judge" and rest.startswith("gives."):
        return "grader", [rest]
    variant, _, name = rest.partition(".")
    address = f"{stage}@{variant}"
    if address not in addresses:
        address, name = stage, rest
    declared = {each.key: each.path for each in ABOUT[stage].headlines} if stage in ABOUT else {}
    if name in declared:
        return address, [declared[name]]
    if name.startswith("by_source."):
        return address, [f"{name}.after"]
    if stage == "mmlu":
        kind, _, level = name.partition(".")
        return address, [f"{kind}.levels.{level}" if level else f"{kind}.all"]
    if stage == "judge":
        return address, [] if name == "gain" else [name or "mean"]
    return address, []


def headlines(
    rows: tuple[Any, Any],
    metrics: Mapping[str, tuple[Any, Any]],
    addresses: Collection[str],
    both: Collection[str],
) -> list[Figure]:
    """Return the metrics that open the reports of both sides. `rows`: their `summary.json`;
    `metrics` before and after, of the stages whose output differs; `addresses` of the stages of
    either side. Other stages of `both` have the same metrics.
    """
    old, new = ({row["key"]: row for row in side} for side in map(_rows, rows))
    figures, group = [], ""
    for key, row in {**old, **new}.items():
        address, paths = place(key, addresses)
        shown = [each.get(key, {}).get("figure") for each in (old, new)]
        if paths and address in metrics:
            # A report may be older than the stage that it shows.
            read = [_at(side, paths) for side in metrics[address]]
            shown = [a if a is not None else b for a, b in zip(read, shown, strict=True)]
        elif paths and address in both:
            shown = [shown[0] if shown[0] is not None else shown[1]] * 2
        if row["group"].startswith(SAME):  # named as the group before, which may not have moved
            group = f"{group.partition(',')[0]}, {row['group'].removeprefix(SAME)}"
        else:
            group = row["group"]
        figures.append(Figure(key, address, group, row["name"], row["unit"], *shown))
    return figures


def others(address: str, metrics: tuple[Any, Any]) -> list[Figure]:
    """Return every number that a stage measured and that moved, under its dotted name; also those
    that only one side measured, if the files of both exist.
    """
    if not all(isinstance(side, dict) for side in metrics):
        return []
    old, new = map(_flat, metrics)
    every = [
        Figure(f"{address}.{name}", address, address, name, "plain", old.get(name), new.get(name))
        for name in dict.fromkeys([*old, *new])
    ]
    return [figure for figure in every if figure.has_moved or figure.is_alone]


def at(key: str, address: str, metrics: Any) -> Any:
    """Return a headline metric from the metrics of its stage."""
    return _at(metrics, place(key, {address})[1])


def _of_classifiers(rest: str) -> list[str]:
    if rest == "gain":
        return ["best_against_tfidf.difference"]
    if rest.startswith("tests."):
        return [f"{rest}.systems.{{best}}.accuracy"]
    system, _, metric = rest.partition(".")
    return [f"{kind}.{system}.{metric or 'accuracy'}" for kind in ("variants", "baselines")]


def _at(metrics: Any, paths: list[str]) -> Any:
    best = metrics.get("best") if isinstance(metrics, dict) else None
    values = (form.at(metrics, path.replace("{best}", str(best))) for path in paths)
    return next((each for each in values if form.value_of(each) is not None), None)


def _rows(summary: Any) -> list[dict[str, Any]]:
    """Return the rows of a `summary.json` that have the present form."""
    keys = {"key", "group", "name", "unit", "figure"}
    listed = summary if isinstance(summary, list) else []
    return [row for row in listed if isinstance(row, dict) and keys <= row.keys()]


def _flat(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return numbers and intervals under dotted names."""
    numbers: dict[str, Any] = {}
    for key, item in metrics.items():
        if isinstance(item, dict) and not form.bounds_of(item):
            numbers |= _flat(item, f"{prefix}{key}.")
        elif form.value_of(item) is not None and not isinstance(item, bool):
            numbers[f"{prefix}{key}"] = item
    return numbers
