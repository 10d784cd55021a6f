"""The tables of a comparison as cells of text, the same in the terminal and on the page."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from llmill.comparison.chain import Comparison, MetricRow
from llmill.comparison.differences import Difference
from llmill.comparison.figures import Figure
from llmill.comparison.items import Paired
from llmill.comparison.reasons import Reason, plain
from llmill.report import form

MOST_STAGES = 3  # named beside a change
FIGURE_HEAD = ("metric", "before", "after", "change", "gained / lost", "p")
SHARED = " shared"  # items, if one side has others as well
FIRST_SEED = ", first seed"  # only that seed's items were written
ROUNDING = 1e-6
Cells = tuple[str, ...]


def by_kind(differences: Iterable[Difference]) -> dict[str, list[Cells]]:
    """Return what changed, by kind: name, before, after, stages."""
    groups: dict[str, list[Cells]] = {}
    for each in differences:
        values = plain(each.before), plain(each.after)
        groups.setdefault(each.kind, []).append((each.name, *values, of_stages(each.stages)))
    return groups


def of_stages(stages: list[str]) -> str:
    """Return some of the stages; if there are many, variants of one stage count as one."""
    names = [*dict.fromkeys(stage.partition("@")[0] for stage in stages)]
    shown = stages if len(stages) <= MOST_STAGES else names
    more = f" and {len(shown) - MOST_STAGES} more" if len(shown) > MOST_STAGES + 1 else ""
    return ", ".join(shown[: MOST_STAGES if more else None]) + more or form.DASH


def stages(comparison: Comparison) -> list[Cells]:
    """Return for each stage its name, what changed in it, whose differing results it read, its
    output.
    """
    return [
        (row.address, ", ".join(row.changed) or form.DASH, of_stages(row.inputs), row.output)
        for row in comparison.stages
    ]


def headlines(comparison: Comparison) -> dict[str, list[Cells]]:
    """Return the metrics that moved, by group."""
    ordered = groupby(comparison.headlines, key=lambda row: row.figure.group)
    groups: dict[str, list[Cells]] = {}
    for group, rows in ordered:
        groups.setdefault(group, []).extend(figure(row) for row in rows)
    return groups


def others(rows: Iterable[MetricRow]) -> list[Cells]:
    """Return name, before, after and change of a stage's other metrics."""
    return [figure(row)[:4] for row in rows]


def steps(reason: Reason) -> dict[str, list[Cells]]:
    """Return for each metric one row per step: its changes, then the rest of `FIGURE_HEAD`."""
    groups: dict[str, list[Cells]] = {}
    for step in reason.figures:
        cells = (step.by, *_figure(step.figure, step.paired)[1:])
        groups.setdefault(step.name, []).append(cells)
    return groups


def figure(row: MetricRow) -> Cells:
    """Return the cells of `FIGURE_HEAD`."""
    return _figure(row.figure, row.paired)


def _figure(figure: Figure, paired: Paired | None) -> Cells:
    values = [form.with_interval(each, figure.unit) for each in (figure.before, figure.after)]
    if paired is None:
        change = _difference(figure.before, figure.after, figure.unit)
        return (figure.name, *values, change, *(form.DASH,) * 2)
    apart = paired.only_before or paired.only_after
    change, of = _change(paired.difference, figure.unit), SHARED if apart else ""
    if not apart and _is_other(paired, figure):  # the metric is a mean over seeds
        change, of = _difference(figure.before, figure.after, figure.unit), FIRST_SEED
    return (
        figure.name,
        *values,
        change,
        f"{paired.gained} / {paired.lost} of {paired.n:,}{of}",
        form.probability(paired.p).removeprefix("= ") if paired.p is not None else form.DASH,
    )


def _is_other(paired: Paired, figure: Figure) -> bool:
    """Return whether a classifier's metric is a mean over seeds, of which only the first wrote its
    predictions: they then show another change.
    """
    if not figure.key.startswith("classify."):
        return False
    old, new = form.value_of(figure.before), form.value_of(figure.after)
    change = form.value_of(paired.difference)
    if old is None or new is None or change is None:  # a run between lost its metrics
        return False
    return abs(new - old - change) > ROUNDING


def _difference(before: Any, after: Any, unit: str) -> str:
    old, new = form.value_of(before), form.value_of(after)
    return form.DASH if old is None or new is None else _change(new - old, unit)


def _change(difference: Any, unit: str) -> str:
    """Return a change with its sign, in points for a share or a gain in shares."""
    if unit in ("share", "gain"):
        return form.with_interval(difference, "gain")
    value, bounds = form.value_of(difference), form.bounds_of(difference)
    assert value is not None
    decimals = 0 if unit in ("count", "short") else form.DECIMALS[unit]
    shown = f"{value:+,.{decimals}f}"
    if not bounds:
        return shown
    return f"{shown} ({' to '.join(f'{bound:+,.{decimals}f}' for bound in bounds)})"


def tests(comparison: Comparison) -> int:
    """Return how many metrics have a test."""
    return sum(row.paired is not None and row.paired.p is not None for row in comparison.headlines)


def caption(comparison: Comparison) -> str:
    """Return the meaning of the columns of a metric table."""
    if not any(row.paired for row in comparison.headlines):
        return "Neither side keeps items for these metrics, only intervals where there are any."
    n = tests(comparison)
    return (
        "gained, lost: items that only one side answers correctly (or with a higher score), among "
        "the items that both sides share. After the change comes its 95 % interval over these "
        "items. p: McNemar's exact test. The interval and the test keep questions about one entity "
        f"or passage together. Of {n} tests, about {n * 0.05:.1f} are below 0.05 by chance alone. "
        "None of these columns covers the effect of another training seed."
    )
