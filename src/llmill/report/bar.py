"""Whether the mean scores of an embedded judge may be shown: from what stage `judge` measured."""

from collections.abc import Mapping, Sequence
from typing import Any


def missed(judged: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the limits that the judge misses in the metrics of any model, and those that the
    answers of no model could measure. Each is named once.
    """
    measured = any("auc" in metrics or metrics.get("unmeasured") == [] for metrics in judged)
    names = ("short_of",) if measured else ("short_of", "unmeasured")
    found = (each for metrics in judged for name in names for each in metrics.get(name, []))
    return list(dict.fromkeys(found))
