"""The figures: functions from metrics to a matplotlib figure, in the current style.

Intervals are error bars, axes show their unit, and series never differ in colour alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import colormaps, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import HashableList

from llmill.report import drawing, form
from llmill.report.about import loss_label, model_name
from llmill.report.drawing import Shares
from llmill.report.files import Curve, stage_of
from llmill.report.preferences import PANELS
from llmill.report.style import CHANCE, MARKERS, WIDTH
from llmill.report.summary import SYSTEMS, system_name

ROW = 0.3  # inches of height per line of a list
FRAME = 1.2  # inches for title, axis and legend
FEW, READABLE = 3, 10  # most labels without rotation, and most labels with readable counts
MOST_HIGH = 8.0  # most inches of a confusion matrix
LONGEST = 24  # most characters of a label there


def loss(curves: Mapping[str, Curve]) -> Figure:
    """Training and validation loss by step: the foundation model above, later stages below."""
    stages = list(dict.fromkeys(stage_of(address) for address in curves))
    first, others = stages[0], stages[1:]
    figure = drawing.empty(6.4 if others else 3.4)
    mosaic: list[HashableList[str]] = [[first] * max(1, len(others))]
    if others:
        mosaic.append([*others])
    panels = figure.subplot_mosaic(mosaic)
    for stage, axes in panels.items():
        _curves(axes, {a: c for a, c in curves.items() if stage_of(a) == stage}, stage == first)
        axes.set(title=stage, xlabel="step", ylabel=loss_label(stage))
        axes.xaxis.set_major_locator(MaxNLocator(3 if stage != first else 8, integer=True))
        axes.set_ylim(bottom=0)
    lines = [line for axes in panels.values() for line in axes.get_lines()]
    labelled = [line for line in lines if not str(line.get_label()).startswith("_")]
    panels[first].legend()
    if extra := [line for line in labelled if line.axes is not panels[first]]:
        figure.legend(handles=extra, loc="outside lower center", ncols=min(4, len(extra)))
    return figure


def _curves(axes: Axes, curves: Mapping[str, Curve], named: bool) -> None:
    """Draw the curves of variants: a colour and marker each, training as a thin line, validation as
    a dashed line with markers.

    Only the panel with `named` labels these two lines; the others label variants only.
    """
    for i, (address, curve) in enumerate(curves.items()):
        label = "training" if named else None
        train = [(row["step"], row["train_loss"]) for row in curve if "train_loss" in row]
        look: dict[str, Any] = {"color": drawing.colour(i)}
        axes.plot(*drawing.columns(train), linewidth=1, alpha=0.75, label=label, **look)
        label = "validation" if named else address.replace("@", " ") if "@" in address else None
        held_out = [(r["step"], r["validation_loss"]) for r in curve if "validation_loss" in r]
        look |= {"marker": MARKERS[i % len(MARKERS)], "markersize": 4.5, "linestyle": (0, (5, 2))}
        axes.plot(*drawing.columns(held_out), linewidth=1.8, label=label, **look)


def nothing(reason: str) -> Figure:
    """A figure with the reason why its stage was skipped."""
    figure = drawing.empty(1.2)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.text(0.5, 0.5, f"skipped: {reason}", ha="center", va="center")
    return figure


def classification(systems: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Test accuracy of each classifier and baseline, with intervals."""
    figure = drawing.empty(FRAME + 0.4 * len(systems))
    axes = figure.subplots()
    shares = {system_name(name): measures.get("accuracy") for name, measures in systems.items()}
    baselines = {name: shares[name] for name in SYSTEMS.values() if name in shares}
    variants = {name: share for name, share in shares.items() if name not in baselines}
    drawing.points(axes, shares, {"classifier": variants, "baseline": baselines}, annotate=True)
    axes.legend(loc="best")
    axes.set(
        title="Accuracy on the test messages", xlabel=drawing.axis("accuracy, %", shares.values())
    )
    axes.margins(x=0.12)
    return figure


def by_parameters(variants: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Test accuracy of each classifier by its number of trained parameters, with intervals."""
    trained = {name: measures.get("trainable_parameters") for name, measures in variants.items()}
    figure, axes = _accuracy_by(trained, variants)
    axes.set(
        title="Accuracy by number of trained parameters", xlabel="trained parameters", xscale="log"
    )
    return figure


def by_seconds(
    seconds: Mapping[str, float | None], variants: Mapping[str, Mapping[str, Any]]
) -> Figure:
    """Test accuracy of each classifier by the seconds of its stage's last run, if known."""
    figure, axes = _accuracy_by(seconds, variants)
    axes.set(title="Accuracy by time", xlabel="seconds of the stage")
    axes.set_xlim(left=0)
    return figure


def _accuracy_by(
    amounts: Mapping[str, float | None], variants: Mapping[str, Mapping[str, Any]]
) -> tuple[Figure, Axes]:
    """Draw a point for each classifier over its amount of something."""
    figure = drawing.empty(3.6)
    axes = figure.subplots()
    for i, (name, measures) in enumerate(variants.items()):
        found, amount = drawing.percent(measures.get("accuracy")), amounts.get(name)
        if found is None or not amount:
            continue
        value, below, above = found
        axes.errorbar(
            [amount], [value], yerr=[[below], [above]], fmt=MARKERS[i % len(MARKERS)], markersize=7,
            color=drawing.colour(i), capsize=3, linewidth=1.6, label=system_name(name),
        )  # fmt: skip
    shares = [measures.get("accuracy") for measures in variants.values()]
    axes.set(ylabel=drawing.axis("accuracy, %", shares))
    if axes.containers:
        figure.legend(loc="outside lower center", ncols=3)
    return figure, axes


def confusion(counts: Sequence[Sequence[int]], labels: Sequence[str], system: str) -> Figure:
    """Messages by true and predicted label, coloured by their share of the true label."""
    few = len(labels) <= FEW
    figure = drawing.empty(1.6 + min(1.1 * len(labels), MOST_HIGH), WIDTH * (0.62 if few else 1.0))
    axes = figure.subplots()
    axes.grid(visible=False)
    if not counts:
        axes.set(title="no predictions")
        return figure
    shares = [[100 * n / max(1, sum(row)) for n in row] for row in counts]
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for i, row in enumerate(counts if len(labels) <= READABLE else []):
        for j, n in enumerate(row):
            ink = "#111111" if _is_light(colormaps["Blues"](shares[i][j] / 100)) else "#ffffff"
            text = f"{n:,}\n{shares[i][j]:.1f} %"
            size = 12 if few else 9
            axes.text(j, i, text, ha="center", va="center", color=ink, fontsize=size)
    names = [f"{each[: LONGEST - 1]}…" if len(each) > LONGEST else each for each in labels]
    axes.set_xticks(range(len(labels)), names)
    if not few:
        axes.tick_params(axis="x", rotation=90)
    axes.set_yticks(range(len(labels)), names)
    axes.spines[:].set_visible(False)
    title = f"Predictions of classifier “{system_name(system)}”"
    axes.set(title=title, xlabel="predicted label", ylabel="true label")
    figure.colorbar(image, ax=axes, label="share of the true label, %").outline.set_visible(False)
    return figure


def _is_light(colour: Sequence[float]) -> bool:
    red, green, blue = colour[:3]
    return 0.299 * red + 0.587 * green + 0.114 * blue > 0.5


def questions(
    shares: Mapping[str, Mapping[str, Shares]], chance: float | None, what: str
) -> Figure:
    """Accuracy on questions, `shares[format][model][name]`, with a panel for each format."""
    every = (values for models in shares.values() for values in models.values())
    names = list(dict.fromkeys(name for values in every for name in values))
    models = next(iter(shares.values()))
    height = FRAME + ROW * (1 + 0.35 * (len(models) - 1)) * len(names) + 0.3
    figure = drawing.empty(height)
    panels = figure.subplots(1, len(shares), sharey=True, squeeze=False)[0]
    for axes, (kind, by_model) in zip(panels, shares.items(), strict=True):
        series = {model_name(model): values for model, values in by_model.items()}
        drawing.points(axes, dict.fromkeys(names), series)
        if chance is not None:
            axes.axvline(100 * chance, label="chance", zorder=1, **CHANCE)
        along = [share for values in by_model.values() for share in values.values()]
        axes.set(title=f"{kind} format", xlabel=drawing.axis("accuracy, %", along), xlim=(-2, 102))
    panels[0].set_yticks(range(len(names)), [_counted(name, shares) for name in names])
    panels[0].set_ylabel(what)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _counted(name: str, shares: Mapping[str, Mapping[str, Shares]]) -> str:
    """Return a name with its number of questions."""
    intervals = (values.get(name) for models in shares.values() for values in models.values())
    return f"{form.words(name)} ({form.trials(next((x for x in intervals if x), None))})"


def judge(metrics: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Mean score and exact match of each model with intervals, and histograms of its scores."""
    figure = drawing.empty(4.8)
    panels = figure.subplot_mosaic(
        [["mean", "exact"], ["spread", "spread"]], height_ratios=[1, 1.6]
    )
    names = {model: model_name(model) for model in metrics}
    means = {names[m]: drawing.scaled(figures.get("mean"), 0.01) for m, figures in metrics.items()}
    exact = {names[m]: figures.get("exact_match") for m, figures in metrics.items()}
    drawing.points(panels["mean"], means, {n: {n: x} for n, x in means.items()}, annotate=True)
    drawing.points(
        panels["exact"], exact, {n: {n: x} for n, x in exact.items()}, annotate=True, unit=" %"
    )
    points, answers = (
        drawing.axis("score, 0 to 100", means.values()),
        drawing.axis("answers, %", exact.values()),
    )
    panels["mean"].set(title="Mean score", xlabel=points, xlim=(-3, 115))
    panels["exact"].set(title="Exact match", xlabel=answers, xlim=(-3, 122))
    panels["exact"].tick_params(labelleft=False)
    for axes in (panels["mean"], panels["exact"]):
        axes.set_xticks(range(0, 101, 25))
    _histograms(panels["spread"], {names[m]: f.get("histogram", {}) for m, f in metrics.items()})
    return figure


def task_and_knowledge(
    models: Mapping[str, tuple[Any, Any]], chance: float | None = None
) -> Figure:
    """Exact match on instructions (x) and questions right by cloze (y): a point for each model."""
    figure = drawing.empty(3.8)
    axes = figure.subplots()
    at: dict[str, tuple[float, float]] = {}
    for i, (model, measured) in enumerate(models.items()):
        task, known = map(drawing.percent, measured)
        if task is None or known is None:
            continue
        (x, *across), (y, *along) = task, known
        at[model_name(model)] = (x, y)
        axes.errorbar(
            [x], [y], xerr=[[side] for side in across], yerr=[[side] for side in along], capsize=3,
            linewidth=1.4, fmt=MARKERS[i % len(MARKERS)], markersize=7, color=drawing.colour(i),
            zorder=3,
        )  # fmt: skip
    drawing.labels(axes, at)
    if chance is not None:
        axes.axhline(100 * chance, label="chance", zorder=1, **CHANCE)
        axes.legend(loc="lower right")
    tasks, knowledge = zip(*models.values(), strict=True) if models else ((), ())
    axes.set(
        title="What a model can do, and what it still knows", xlim=(-3, 103), ylim=(-3, 105),
        xlabel=drawing.axis("instructions with exact match, %", tasks),
        ylabel=drawing.axis("cloze questions right, %", knowledge),
    )  # fmt: skip
    return figure


def preferences(curve: Curve) -> Figure:
    """Metrics of the validation pairs by step of the preference tuning, a panel for each."""
    figure = drawing.empty(5.0)
    panels = figure.subplots(2, 2, sharex=True)
    before: list[Any] = []
    for axes, (name, panel) in zip(panels.flat, PANELS.items(), strict=True):
        rows = [(row["step"], panel.scale * row[name]) for row in curve if name in row]
        axes.plot(*drawing.columns(rows), marker="o", markersize=4.5, linewidth=1.6)
        if rows and rows[0][0] == 0:
            before.append(axes.axhline(rows[0][1], zorder=1, **CHANCE))
        axes.set(title=panel.title, ylabel=panel.unit)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    for axes in panels[-1]:
        axes.set_xlabel("step")
    if before:
        figure.legend(before[:1], ["before the tuning"], loc="outside lower center")
    return figure


def _histograms(axes: Axes, histograms: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """Draw one bar per model in each bin, as shares of the model's own answers."""
    for i, (name, histogram) in enumerate(histograms.items()):
        edges, counts = histogram.get("edges", []), histogram.get("counts", [])
        if not counts:
            continue
        step = (edges[1] - edges[0]) * 0.86 / len(histograms)
        left = [edge + (edges[1] - edges[0]) * 0.07 + (i + 0.5) * step for edge in edges[:-1]]
        shares = [100 * n / max(1, sum(counts)) for n in counts]
        hatch = ("", "///", "...", "xx")[i % 4]
        axes.bar(
            left, shares, step, label=name, color=drawing.colour(i), hatch=hatch,
            edgecolor=rcParams["axes.facecolor"], linewidth=0.5,
        )  # fmt: skip
        axes.set_xticks(edges)
    axes.set(title="Distribution of the scores", xlabel="score", ylabel="answers, %")
    if axes.patches:
        axes.legend()


def grader(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """The judge's scores of held-out responses, by their kind and known score."""
    kinds = sorted({(-row["score"], row["kind"]) for row in rows}, reverse=True)
    groups = [[r["predicted"] for r in rows if (-r["score"], r["kind"]) == kind] for kind in kinds]
    figure = drawing.empty(FRAME + 0.45 * max(1, len(kinds)))
    axes = figure.subplots()
    ink = rcParams["text.color"]
    thick = {"color": ink, "linewidth": 1.2}
    if groups:
        axes.boxplot(
            groups, orientation="horizontal", positions=range(len(kinds)), widths=0.55,
            patch_artist=True, whis=(5, 95), medianprops={"color": "#000000", "linewidth": 2},
            boxprops={"facecolor": drawing.colour(5), "edgecolor": ink},
            whiskerprops=thick, capprops=thick,
            flierprops={"marker": ".", "markersize": 3, "markeredgecolor": ink, "alpha": 0.5},
        )  # fmt: skip
    scores = [-minus for minus, _ in kinds]
    look = {"color": drawing.colour(1), "edgecolors": ink, "linewidths": 0.6}
    axes.scatter(scores, range(len(kinds)), marker="D", s=48, zorder=4, label="known score", **look)
    labels = [f"{form.words(k)} ({len(g)})" for (_, k), g in zip(kinds, groups, strict=True)]
    axes.set_yticks(range(len(kinds)), labels)
    title = "The judge's scores by how the answer was made"
    axes.set(title=title, xlabel="score, 0 to 100", xlim=(-3, 103))
    figure.legend(loc="outside lower center")
    return figure
