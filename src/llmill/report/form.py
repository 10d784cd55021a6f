"""How a figure is written: shares as percent, the interval behind the value, a dash for nothing."""

from collections.abc import Iterable
from typing import Any

DASH = "–"
NO_BREAK = "\u00a0"
COVERED = {"items": "items", "seeds": "seeds", "both": "items and seeds"}
DECIMALS = {"nats": 3, "bits": 3, "plain": 3, "points": 1}
SIZES = ("bytes", "kB", "MB", "GB", "TB")


def at(metrics: Any, path: str) -> Any:
    """What stands at a path of names with dots between, of which a name may have some itself; None
    where nothing does.
    """
    names = path.split(".")
    for count in range(1, len(names) + 1) if isinstance(metrics, dict) else ():
        inside = metrics.get(".".join(names[:count]))
        found = at(inside, ".".join(names[count:])) if count < len(names) else inside
        if found is not None:
            return found
    return None


def value_of(item: Any) -> float | None:
    """The number in an interval, or the number itself; None for what is not one."""
    if isinstance(item, dict):
        item = item.get("value")
    return float(item) if isinstance(item, int | float) else None


def bounds_of(item: Any) -> tuple[float, float] | None:
    """Both ends of an interval; None for what has none, as of a single observation, which says
    nothing of others.
    """
    if not isinstance(item, dict) or value_of(item) is None:
        return None
    low, high = value_of(item.get("low")), value_of(item.get("high"))
    if low is None or high is None or (low == high and item.get("n") == 1):
        return None
    return low, high


def number(item: Any, unit: str) -> str:
    """A value in its unit.

    `share` 93.2 %; `gain` (of a share) +3.4; `points` 71.3; `count` 1,234,567; `short` 1.23
    million; `nats`, `bits` and `plain` to three decimals.
    """
    value = value_of(item)
    if value is None:
        return DASH
    if unit == "share":
        return f"{100 * value:.1f} %"
    if unit == "gain":
        return f"{100 * value:+.1f}"
    if unit == "count":
        return f"{value:,.0f}"
    if unit == "short":
        return short(value)
    return f"{value:.{DECIMALS[unit]}f}"


def interval(item: Any, unit: str) -> str:
    """`91.0 to 95.1`, without the sign of the unit; a dash where there is no interval."""
    bounds = bounds_of(item)
    return " to ".join(number(x, unit).removesuffix(" %") for x in bounds) if bounds else DASH


def with_interval(item: Any, unit: str) -> str:
    """`93.2 % (91.0 to 95.1)`; only the value where there is no interval."""
    value = number(item, unit)
    return f"{value} ({interval(item, unit)})" if bounds_of(item) else value


def in_words(item: Any, unit: str) -> str:
    """The same with what the interval covers: `93.2 % (91.0 to 95.1 over items)`."""
    return with_interval(item, unit).replace(")", f" {over([item])}".rstrip() + ")")


def covers(item: Any) -> str:
    """What an interval covers; a dash for a number, and for a figure of before it was written."""
    return COVERED.get(item.get("covers", ""), DASH) if bounds_of(item) else DASH


def over(figures: Iterable[Any]) -> str:
    """What the intervals of several figures cover: `over items`; "" where none has one."""
    said = dict.fromkeys(each for figure in figures if (each := covers(figure)) != DASH)
    return f"over {' or '.join(said)}" if said else ""


def probability(p: Any) -> str:
    """`= 0.034`, or `< 0.001`."""
    value = value_of(p)
    if value is None:
        return f"= {DASH}"
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def unbroken(text: str) -> str:
    """A cell that breaks between value and interval and nowhere else."""
    return " (".join(part.replace(" ", NO_BREAK) for part in text.split(" ("))


def trials(item: Any) -> str:
    """The number of observations behind an interval."""
    return number(item.get("n"), "count") if isinstance(item, dict) else DASH


def size(n_bytes: Any) -> str:
    """A number of bytes: 804.3 kB."""
    value = value_of(n_bytes)
    if value is None:
        return DASH
    power = 0
    while value >= 1000 and power < len(SIZES) - 1:
        value, power = value / 1000, power + 1
    return f"{value:,.0f} {SIZES[0]}" if power == 0 else f"{value:,.1f} {SIZES[power]}"


def short(n: Any) -> str:
    """A large count in three digits: 1.05 million."""
    value = value_of(n)
    if value is None:
        return DASH
    rounded = float(f"{value:.3g}")  # so that 999.6 million is a billion
    for limit, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if rounded >= limit:
            times = rounded / limit
            return f"{times:,.0f} {word}" if times >= 1000 else f"{times:.3g} {word}"
    return f"{value:,.0f}"


def words(name: str) -> str:
    """A name of the data for reading: `one_fact` is one fact."""
    return name.replace("_", " ")


def plain(item: Any) -> str:
    """A parameter or figure of unknown kind."""
    if item is None or item == [] or item == {}:
        return DASH
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, dict) and bounds_of(item):
        return with_interval(item, "plain")
    if isinstance(item, int):
        return f"{item:,}" if abs(item) >= 10_000 else str(item)
    if isinstance(item, float):
        return f"{item:.6g}"
    if isinstance(item, list):
        return ", ".join(plain(each) for each in item)
    return str(item)
