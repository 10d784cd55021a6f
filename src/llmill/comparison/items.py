"""Pair what stages wrote about every single question, answer and message by what was asked. The
difference of two systems on the same items is known far better than two intervals suggest.

Input: the files of both sides. Output: for each metric how many items were gained and lost,
McNemar's exact test, and the mean difference with its interval over items. Questions about one
entity or passage stay together in both.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmill.comparison.outputs import Read
from llmill.evaluation.statistics import intervals, significance
from llmill.evaluation.statistics.intervals import CONFIDENCE, RESAMPLES, Interval

SEED = 1
RIGHT, AFTER = "_right", "_after"  # endings of columns of rights and wrongs

Item = tuple[Any, ...]  # what was asked, with a number among equal ones
ItemMetrics = dict[str, "ItemMetric"]  # by the key of their headline metric


@dataclass
class ItemMetric:
    """A metric of every item. A share counts rights and wrongs, or is a value of each text."""

    unit: str
    values: dict[Item, float]
    is_right: bool  # or wrong, with nothing between
    clusters: dict[Item, int] = field(default_factory=dict)  # of items that may share something


@dataclass(frozen=True)
class Paired:
    """Both sides on the items that both have. `difference`: after minus before."""

    unit: str
    n: int
    only_before: int  # items that only one side has
    only_after: int
    gained: int  # right only after; higher, for values between right and wrong
    lost: int
    difference: Interval
    p: float | None  # of rights and wrongs: McNemar's; over clusters, if items share them


def paired(before: ItemMetric, after: ItemMetric) -> Paired | None:
    """Compare two systems on the items that both have; return None if there are none."""
    both = [item for item in before.values if item in after.values]
    if not both or before.is_right != after.is_right:
        return None
    gains = [after.values[item] - before.values[item] for item in both]
    gained, lost = sum(g > 0 for g in gains), sum(g < 0 for g in gains)
    known = after.clusters or before.clusters
    clusters = [known.get(item, item) for item in both]
    return Paired(
        unit=after.unit,
        n=len(both),
        only_before=len(before.values) - len(both),
        only_after=len(after.values) - len(both),
        gained=gained,
        lost=lost,
        difference=_difference(gains, clusters, after.is_right),
        p=_p(gains, clusters) if after.is_right else None,
    )


def _p(gains: Sequence[float], clusters: Sequence[Hashable]) -> float:
    if len(set(clusters)) == len(gains):
        return significance.mcnemar(gains.count(1), gains.count(-1))
    return significance.sign_flips([round(s) for s in intervals.cluster_sums(gains, clusters)])


def _difference(gains: Sequence[float], clusters: Sequence[Hashable], of_rights: bool) -> Interval:
    if of_rights:
        was, is_now = [gain < 0 for gain in gains], [gain > 0 for gain in gains]
        return intervals.paired_difference(was, is_now, clusters, confidence=CONFIDENCE)
    return intervals.mean(gains, confidence=CONFIDENCE, resamples=RESAMPLES, seed=SEED)


def item_metrics(address: str, read: Read) -> ItemMetrics:
    """Return what a stage wrote of every item; empty if it writes none, or in another form."""
    stage, _, variant = address.partition("@")
    try:
        return OF_STAGE[stage](variant, read) if stage in OF_STAGE else {}
    except (TypeError, KeyError, AttributeError):
        return {}


def _mmlu(variant: str, read: Read) -> ItemMetrics:
    metrics: ItemMetrics = {}
    for item, row in _items(read("questions.json"), ("subject", "question")):
        for name, value in row.items():
            if name.endswith(RIGHT):
                key = f"mmlu.{variant}.{name.removesuffix(RIGHT)}"
                _note(metrics, key, item, value, cluster=row.get("cluster"))
                if row.get("level"):
                    _note(metrics, f"{key}.{row['level']}", item, value, cluster=row.get("cluster"))
    return metrics


def _knowledge(variant: str, read: Read) -> ItemMetrics:
    metrics: ItemMetrics = {}
    for item, row in _items(read("questions.json"), ("subject", "question")):
        for name, value in row.items():
            if name.endswith(AFTER) and isinstance(value, bool):
                key = f"knowledge.{variant}.{name.removesuffix(AFTER)}"
                _note(metrics, key, item, value, cluster=row.get("cluster"))
    return metrics


def _judge(variant: str, read: Read) -> ItemMetrics:
    metrics: ItemMetrics = {}
    for item, row in _items(read("scores.json"), ("instruction", "input", "reference")):
        _note(metrics, f"judge.{variant}", item, row.get("score"), "points")
        _note(metrics, f"judge.{variant}.exact_match", item, row.get("exact"))
        _note(metrics, f"judge.{variant}.rouge_l", item, row.get("rouge_l"))
    return metrics


def _accuracy(variant: str, read: Read) -> ItemMetrics:
    metrics: ItemMetrics = {}
    for item, row in _items(read("predictions.json"), ("text", "label")):
        for system, said in row["predictions"].items():
            _note(metrics, f"classify.{system}", item, said == row["label"])
    best = (read("metrics.json") or {}).get("best")
    for test, rows in (read("tests.json") or {}).items():
        for item, row in _items(rows, ("text", "label")):
            if best in row["predictions"]:
                said = row["predictions"][best]
                _note(metrics, f"classify.tests.{test}", item, said == row["label"])
    return metrics


OF_STAGE = {"mmlu": _mmlu, "knowledge": _knowledge, "judge": _judge, "accuracy": _accuracy}


def _items(rows: Any, names: tuple[str, ...]) -> Iterable[tuple[Item, dict[str, Any]]]:
    """Yield rows with what was asked in them; the second of two equal rows is another item."""
    seen: Counter[Item] = Counter()
    for row in rows or []:
        asked = tuple(row.get(name) for name in names)
        seen[asked] += 1
        yield (*asked, seen[asked]), row


def _note(
    metrics: ItemMetrics, key: str, item: Item, value: Any, unit: str = "share", cluster: Any = None
) -> None:
    """Keep a value of an item; a score that could not be read is left out."""
    if isinstance(value, bool | int | float):
        metric = metrics.setdefault(key, ItemMetric(unit, {}, isinstance(value, bool)))
        metric.values[item] = float(value)
        if isinstance(cluster, int):
            metric.clusters[item] = cluster
