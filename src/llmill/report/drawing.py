"""The parts of figures: the empty figure, points with intervals, colours, labels of axes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from llmill.report import form
from llmill.report.style import MARKERS, WIDTH

Shares = Mapping[str, Any]  # intervals by name


def colour(i: int) -> str:
    """Return the colour of series `i` in the current theme."""
    cycle = rcParams["axes.prop_cycle"].by_key()["color"]
    return cycle[i % len(cycle)]


def empty(height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure with sizes in inches and padding around and between its panels."""
    room = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09, wspace=0.03, hspace=0.03)
    return Figure(figsize=(width, height), layout=room)


def percent(item: Any) -> tuple[float, float, float] | None:
    """Return a share in percent, and how far its interval reaches below and above it."""
    value = form.value_of(item)
    if value is None:
        return None
    low, high = form.bounds_of(item) or (value, value)
    return 100 * value, max(0.0, 100 * value - 100 * low), max(0.0, 100 * high - 100 * value)


def points(
    axes: Axes,
    names: Mapping[str, Any],
    series: Mapping[str, Shares],
    annotate: bool = False,
    unit: str = "",
) -> None:
    """Draw points with error bars in percent, with one line for each of `names` from the top."""
    for i, (label, shares) in enumerate(series.items()):
        shift = 0.0 if annotate else 0.28 * (i - (len(series) - 1) / 2)
        values, below, above, heights = [], [], [], []
        for y, name in enumerate(names):
            if found := percent(shares.get(name)):
                values.append(found[0])
                below.append(found[1])
                above.append(found[2])
                heights.append(y + shift)
        axes.errorbar(
            values, heights, xerr=[below, above], fmt=MARKERS[i % len(MARKERS)], markersize=6,
            color=colour(i), capsize=3, linewidth=1.6, label=label, zorder=3,
        )  # fmt: skip
        for value, up, height in zip(values, above, heights, strict=True):
            if annotate:
                text, at = f"{value:.1f}{unit}", (value + up, height)
                axes.annotate(text, at, xytext=(7, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.4, -0.6)


def labels(axes: Axes, at: Mapping[str, tuple[float, float]]) -> None:
    """Label points on axes from 0 to 100, on the side with more room. The labels of one side stand
    one under the other, in an order in which no line crosses a label: points may be neighbours.
    """
    middle = 50
    left = sorted((name for name in at if at[name][0] >= middle), key=lambda name: at[name])
    right = sorted((name for name in at if at[name][0] < middle), key=lambda name: at[name])[::-1]
    for side, names in ((-1, left), (1, right)):
        for row, name in enumerate(names):
            down = -1 if at[name][1] >= middle else 1
            axes.annotate(
                name, at[name], xytext=(18 * side, down * (24 + 16 * row)), va="center",
                textcoords="offset points", ha="left" if side > 0 else "right",
                arrowprops={"arrowstyle": "-", "color": rcParams["text.color"], "linewidth": 0.7,
                    "shrinkA": 1, "shrinkB": 5, "relpos": (0 if side > 0 else 1, 0.5)},
            )  # fmt: skip


def axis(words: str, figures: Iterable[Any]) -> str:
    """Return an axis label that states what the intervals cover."""
    over = form.over(figures)
    return f"{words} (interval {over})" if over else words


def scaled(item: Any, factor: float) -> Any:
    """Multiply an interval by a factor, but not its `n`."""
    if not isinstance(item, dict):
        return item
    return {
        k: v * factor if k != "n" and isinstance(v, int | float) else v for k, v in item.items()
    }


def columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return the x and the y of points."""
    return [x for x, _ in pairs], [y for _, y in pairs]
