"""The parts of figures."""

import pytest
from matplotlib.figure import Figure

from llmill.report import drawing


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        ({"value": 0.75, "low": 0.5, "high": 0.875, "n": 8, "covers": "items"}, (75, 25, 12.5)),
        ({"value": 0.75, "low": 0.75, "high": 0.75, "n": 1}, (75, 0, 0)),
        (0.5, (50, 0, 0)),
        (None, None),
        ({}, None),
    ],
)
def test_a_share_is_shown_in_percent_with_the_reach_of_its_interval(item, shown):
    assert drawing.percent(item) == shown


def test_labels_of_neighbours_stand_one_under_the_other_and_no_line_crosses_a_label():
    """On the right side, the point furthest left has the highest label, which ends left of it."""
    axes = Figure().subplots()
    points = {"a": (75.4, 95.6), "b": (73.6, 95.3), "c": (0.0, 97.6), "d": (80.0, 10.0)}
    drawing.labels(axes, points)
    placed = {text.get_text(): (text.get_ha(), text.xyann) for text in axes.texts}
    assert placed == {
        "b": ("right", (-18, -24)),
        "a": ("right", (-18, -40)),
        "c": ("left", (18, -24)),
        "d": ("right", (-18, 56)),  # of a low point above it
    }
