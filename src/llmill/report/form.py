"""Format metrics as text: shares in percent, the interval after the value, a dash if missing."""

from collections.abc import Iterable
from typing import Any

import yaml

DASH = "–"
NO_BREAK = "\u00a0"
COVERED = {"items": "items", "seeds": "seeds", "both": "items and seeds"}
DECIMALS = {"nats": 3, "bits": 3, "plain": 3, "points": 1}
SIZES = ("bytes", "kB", "MB", "GB", "TB")


def at(metrics: Any, path: str) -> Any:
    """Return the item at a path of names joined by dots, or None. A name may contain dots, too."""
    names = path.split(".")
    for count in range(1, len(names) + 1) if isinstance(metrics, dict) else ():
        inside = metrics.get(".".join(names[:count]))
        found = at(inside, ".".join(names[count:])) if count < len(names) else inside
        if found is not None:
            return found
    return None


def value_of(item: Any) -> float | None:
    """Return the value of an interval, or the number itself; None for anything else."""
    if isinstance(item, dict):
        item = item.get("value")
    return float(item) if isinstance(item, int | float) else None


def bounds_of(item: Any) -> tuple[float, float] | None:
    """Return both limits of an interval; None without one, or if they are equal because there is
    only one observation.
    """
    if not isinstance(item, dict) or value_of(item) is None:
        return None
    low, high = value_of(item.get("low")), value_of(item.get("high"))
    if low is None or high is None or (low == high and item.get("n") == 1):
        return None
    return low, high


def number(item: Any, unit: str) -> str:
    """Format a value in its unit.

    `share` 93.2 %, with more decimals where it would look like 0 or 100 %; `gain` (of a share)
    +3.4; `points` 71.3; `count` 1,234,567; `short` 1.23 million; `nats`, `bits` and `plain` to
    three decimals, but a `plain` number from a thousand on to none.
    """
    value = value_of(item)
    if value is None:
        return DASH
    if unit == "share":
        return f"{_percent(value)} %"
    if unit == "gain":
        return f"{100 * value:+.1f}"
    if unit == "count":
        return f"{value:,.0f}"
    if unit == "short":
        return short(value)
    if unit == "plain" and abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{DECIMALS[unit]}f}"


def interval(item: Any, unit: str) -> str:
    """Format an interval without a percent sign: `91.0 to 95.1`; a dash without an interval."""
    bounds = bounds_of(item)
    return " to ".join(number(x, unit).removesuffix(" %") for x in bounds) if bounds else DASH


def with_interval(item: Any, unit: str) -> str:
    """Format value and interval: `93.2 % (91.0 to 95.1)`; only the value without an interval."""
    value = number(item, unit)
    return f"{value} ({interval(item, unit)})" if bounds_of(item) else value


def _percent(share: float) -> str:
    rounded = (f"{100 * share:.{digits}f}" for digits in (1, 2, 3))
    return next((text for text in rounded if float(text) not in (0, 100)), f"{100 * share:.1f}")


def in_words(item: Any, unit: str) -> str:
    """Format also what the interval covers: `93.2 % (91.0 to 95.1 over items)`."""
    return with_interval(item, unit).replace(")", f" {over([item])}".rstrip() + ")")


def covers(item: Any) -> str:
    """Return what an interval covers; a dash for a number, or if an old file does not state it."""
    return COVERED.get(item.get("covers", ""), DASH) if bounds_of(item) else DASH


def over(figures: Iterable[Any]) -> str:
    """Return what the intervals of several metrics cover: `over items`; "" without intervals."""
    said = dict.fromkeys(each for figure in figures if (each := covers(figure)) != DASH)
    return f"over {' or '.join(said)}" if said else ""


def probability(p: Any) -> str:
    """Format a p-value: `= 0.034`, or `< 0.001`."""
    value = value_of(p)
    if value is None:
        return f"= {DASH}"
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def unbroken(text: str) -> str:
    """Let a cell break only between value and interval."""
    return " (".join(part.replace(" ", NO_BREAK) for part in text.split(" ("))


def trials(item: Any) -> str:
    """Format the number of observations of an interval."""
    return number(item.get("n"), "count") if isinstance(item, dict) else DASH


def size(n_bytes: Any) -> str:
    """Format a number of bytes: 804.3 kB."""
    value = value_of(n_bytes)
    if value is None:
        return DASH
    power = 0
    while value >= 1000 and power < len(SIZES) - 1:
        value, power = value / 1000, power + 1
    return f"{value:,.0f} {SIZES[0]}" if power == 0 else f"{value:,.1f} {SIZES[power]}"


def short(n: Any) -> str:
    """Format a large count with three digits: 1.05 million."""
    value = value_of(n)
    if value is None:
        return DASH
    rounded = float(f"{value:.3g}")  # round first: 999.6 million is 1 billion
    for limit, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if rounded >= limit:
            times = rounded / limit
            return f"{times:,.0f} {word}" if times >= 1000 else f"{times:.3g} {word}"
    return f"{value:,.0f}"


def words(name: str) -> str:
    """Format a name of the data for reading: `one_fact` becomes one fact."""
    return name.replace("_", " ")


def plain(item: Any) -> str:
    """Format a parameter or metric of unknown type."""
    if item is None or item == [] or item == {}:
        return DASH
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, dict) and bounds_of(item):
        return with_interval(item, "plain")
    if isinstance(item, dict):
        given = {key: value for key, value in item.items() if value is not None}
        return yaml.safe_dump(
            given, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
        ).strip()
    if isinstance(item, int):
        return f"{item:,}" if abs(item) >= 10_000 else str(item)
    if isinstance(item, float):
        return f"{item:.6g}"
    if isinstance(item, list):
        return ", ".join(plain(each) for each in item)
    return str(item)
