"""The tables of stage `knowledge`: what a fine-tuned language model kept of its foundation's
knowledge; and the points of the figure that compares this with the task that it learned.
"""

from collections.abc import Mapping
from typing import Any

from llmill.report import form
from llmill.report.about import about, model_name
from llmill.report.files import Results, variant_of
from llmill.report.form import number
from llmill.report.tables import LOSS_HEAD, Cell, Table, losses_by_source, with_intervals

STAGE = "knowledge"
FOUNDATION = "pretrain"
COUNTED = ("kept", "lost", "gained")


def ways(results: Results, model: str) -> Table:
    """Each way of asking: the share right by both models, questions kept, lost and gained."""
    metrics = results.metrics[f"{STAGE}@{model}"]
    rows: list[list[Cell]] = []
    for way in about(STAGE).headlines:
        found = metrics.get(way.key)
        if found:
            shares: list[Cell] = [(found.get(when), "share") for when in ("before", "after")]
            counts = (number(found.get(name), "count") for name in COUNTED)
            difference = (found.get("difference"), "gain")
            rows.append([way.name, _beside(way.key, metrics), *shares, *counts, difference])
    models = (model_name(FOUNDATION), model_name(model))
    head = ("asked", "baseline", *models, *COUNTED, "difference, points")
    return with_intervals(head, rows, left=2)


def losses(results: Results) -> Table:
    """The loss on held-out text before and after each tuning, by source."""
    rows = [
        (model_name(model), *row)
        for model in models(results)
        for row in losses_by_source(results.metrics[f"{STAGE}@{model}"].get("loss", {}))
    ]
    return Table(("model", *LOSS_HEAD), rows, left=2)


def models(results: Results) -> list[str]:
    """Return the tuned models that were measured."""
    return [variant_of(address) for address in results.made(STAGE)]


def points(results: Results) -> dict[str, tuple[Any, Any]]:
    """Return exact match and the cloze share of each model that has both; none if fewer than two
    models have them.
    """
    known = {model: results.metrics[f"{STAGE}@{model}"] for model in models(results)}
    cloze = {model: form.at(metrics, "cloze.after") for model, metrics in known.items()}
    before = [form.at(metrics, "cloze.before") for metrics in known.values()]
    cloze = {FOUNDATION: next(filter(None, before), None), **cloze}
    found = {
        model: (form.at(results.metrics.get(f"judge@{model}"), "exact_match"), share)
        for model, share in cloze.items()
    }
    whole = {model: both for model, both in found.items() if None not in both}
    return whole if len(whole) > 1 else {}


def chance(results: Results) -> float | None:
    """Return the share that guessing gets right."""
    shares = (results.metrics[f"{STAGE}@{model}"].get("chance") for model in models(results))
    return next(shares, None)


def interpolation(instruct: Mapping[str, Any]) -> Table:
    """The weights that stage `instruct` compared, by their share of the way."""
    rows = [
        (
            number(row.get("share"), "share"),
            number(row.get("validation_loss"), "nats"),
            number(row.get("exact_match"), "share"),
        )
        for row in instruct.get("interpolation", [])
    ]
    return Table(("share of the way", "validation loss", "exact match"), rows)


def _beside(way: str, metrics: Mapping[str, Any]) -> str:
    """Return the baseline of a way of asking. A text is compared with another question's text."""
    others = [form.at(metrics, f"of_others.{name}") for name in ("before", "after", "answered")]
    shown = (number(share, "share") for share in (*others, metrics.get("chance")))
    before, after, answered, chance = (share.replace(" ", form.NO_BREAK) for share in shown)
    return {
        "written": f"another question's text: before {before}, after {after}",
        "answered": f"another question's text {before}, answer {answered}",
    }.get(way, f"chance {chance}")
