"""The tables of test items that occur in what was learnt from."""

from collections.abc import Mapping
from typing import Any

from llmill.report.about import model_name
from llmill.report.form import number, words
from llmill.report.summary import system_name
from llmill.report.tables import Cell, Table, with_intervals


def overlaps(found: Mapping[str, Any]) -> Table:
    """Test items that occur in the training text, by kind, with their answers and the control."""
    shares = ("overlapping", "above_threshold", "right_answer", "wrong_answer")
    rows: list[list[Cell]] = [
        [
            words(kind),
            *(number(figures.get(name), "count") for name in ("items", "whole", "longest")),
            *(_of_some(figures.get(name)) for name in shares),
        ]
        for kind, figures in found.get("kinds", {}).items()
    ]
    above = f"above {number(found.get('threshold'), 'share')}"
    answers = ("of these with the right answer", "with a wrong one")
    head = ("", "items", "one run, the whole", "longest run, words", "overlap", above, *answers)
    return with_intervals(head, rows)


def with_and_without(found: Mapping[str, Any]) -> Table:
    """Shares right with and without the items that overlap, where some do."""
    chosen = ("all", "overlapping", "without", "below_threshold")
    rows: list[list[Cell]] = [
        [
            words(kind),
            f"{system_name(model) if kind == 'messages' else model_name(model)}, {words(measure)}",
            number(shares["overlapping"]["n"], "count"),
            *(_of_some(shares[name]) for name in chosen),
        ]
        for kind, models in found.get("scores", {}).items()
        for model, measures in models.items()
        for measure, shares in measures.items()
        if shares["overlapping"]["n"]
    ]
    below = f"not above {number(found.get('threshold'), 'share')}"
    head = ("", "model, right by", "overlapping", "all items", "those that overlap", "the others")
    return with_intervals((*head, below), rows, left=2)


def _of_some(share: Any) -> Cell:
    """A share with its interval; a dash for one of nothing, which tells nothing."""
    return share if share and share["n"] else None, "share"
