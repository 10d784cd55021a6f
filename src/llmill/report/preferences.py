"""The tables of stage `prefer`: whether the chosen answers are ahead, and what the tuning moved.

The stage measures the test pairs before and after the training, and the validation pairs by step.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from llmill.report import form
from llmill.report.files import Curve, Results
from llmill.report.tables import Cell, Table, with_intervals

STAGE = "prefer"
CHOSEN, REJECTED = "chosen_log_probability", "rejected_log_probability"
FELL = "chosen_fell_at_step"


class Panel(NamedTuple):
    """How the figure shows a column of the curve."""

    title: str
    unit: str
    scale: float = 1


PANELS = {
    "validation_accuracy": Panel("Pairs in the right order", "pairs, %", 100),
    "margin": Panel("Margin of the rewards", "mean margin"),
    CHOSEN: Panel("Chosen answers", "log-likelihood, nats"),
    REJECTED: Panel("Rejected answers", "log-likelihood, nats"),
}
AHEAD = {  # what the chosen answer has more of, by the place of the metric
    "accuracy": "the higher reward, after tuning",
    "beside.likelihood_before": "the higher likelihood, before tuning",
    "beside.likelihood_after": "the higher likelihood, after tuning",
    "beside.likelihood_per_token_before": "the higher likelihood per token, before tuning",
    "beside.likelihood_per_token_after": "the higher likelihood per token, after tuning",
    "beside.longer_answer": "more tokens",
    "beside.shorter_answer": "fewer tokens",
}
MOVED = {  # columns of the curve
    "margin": "margin of the rewards",
    CHOSEN: "log-likelihood of the chosen answer",
    REJECTED: "log-likelihood of the rejected answer",
}


def ahead(metrics: Mapping[str, Any]) -> Table:
    """The share of the test pairs whose chosen answer is ahead, by reward and by each baseline."""
    rows: list[list[Cell]] = [
        [name, (figure, "share"), form.trials(figure)]
        for place, name in AHEAD.items()
        if (figure := form.at(metrics, place))
    ]
    return with_intervals(("the chosen answer has", "share of the test pairs", "n"), rows)


def moved(results: Results) -> Table:
    """Means over the pairs before and after the training: margin, log-likelihoods, drift."""
    metrics, points = results.metrics[STAGE], curve(results)
    start = points[0] if points and points[0]["step"] == 0 else {}
    end = points[-1] if points else {}
    rows = [
        _change(MOVED["margin"], "test", None, metrics.get("margin")),
        _change(MOVED[CHOSEN], "test", *_both(metrics.get(CHOSEN))),
        *(_change(words, "validation", start.get(n), end.get(n)) for n, words in MOVED.items()),
        _change("drift, nats per answer", "validation", start.get("kl"), metrics.get("kl")),
    ]
    shown = [row for row in rows if row[3] != form.DASH]
    return Table(("mean", "split", "before", "after", "change"), shown, left=2)


def fell(metrics: Mapping[str, Any]) -> str:
    """Return at which step the chosen answers were first less likely, in a sentence; "" if the
    stage did not look.
    """
    if FELL not in metrics:
        return ""
    if metrics[FELL] is None:
        return "At no validation were the chosen answers less likely than before the tuning."
    step = form.number(metrics[FELL], "count")
    return (
        "The chosen answers were first less likely than before the tuning at the validation of "
        f"step {step}."
    )


def ends(results: Results) -> str:
    """Return the last metrics of the validation pairs, in a sentence."""
    last = (curve(results) or [{}])[-1]
    right = form.number(last.get("validation_accuracy"), "share")
    margin, *likely = (form.number(last.get(name), "nats") for name in MOVED)
    return (
        f"At the end, the chosen answer has the higher reward in {right} of the pairs, the margin "
        f"is {margin}, and the log-likelihoods are {likely[0]} (chosen) and {likely[1]} (rejected)."
    )


def curve(results: Results) -> Curve:
    """Return the rows of the curve that hold a metric of the validation pairs."""
    rows = results.curves.get(STAGE, [])
    return [row for row in rows if any(name in row for name in PANELS)]


def _both(figures: Any) -> tuple[Any, Any]:
    return form.at(figures, "before"), form.at(figures, "after")


def _change(name: str, pairs: str, before: Any, after: Any) -> list[str]:
    change = form.DASH if None in (before, after) else f"{after - before:+.3f}"
    return [name, pairs, form.number(before, "nats"), form.number(after, "nats"), change]
