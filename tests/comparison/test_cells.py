"""The cells of a comparison: a change of every unit that a report has."""

import pytest

from llmill.comparison import cells, items
from llmill.comparison.chain import MetricRow
from llmill.comparison.figures import Figure


@pytest.mark.parametrize(
    ("unit", "before", "after", "change"),
    [
        ("share", 0.50, 0.52, "+2.0"),
        ("gain", 0.01, -0.02, "-3.0"),
        ("count", 10, 1210, "+1,200"),
        ("short", 7, 5, "-2"),
        ("bits", 1.25, 1.0, "-0.250"),
        ("points", 4.8, 5.0, "+0.2"),
    ],
)
def test_a_change_is_shown_in_the_unit_of_its_figure(unit, before, after, change):
    row = MetricRow(Figure("a.key", "report", "Group", "a figure", unit, before, after), None)
    assert cells.figure(row)[3] == change


def test_a_mean_over_seeds_changes_as_it_does_and_not_as_its_first_seed():
    """Wrong on 10 of 100 with each of three seeds, and then on 14, 2 and 2."""
    hits = {("a", n): 1.0 for n in range(86)} | {("a", n): 0.0 for n in range(86, 100)}
    before = {**hits} | {("a", n): 1.0 for n in range(86, 90)}
    paired = items.paired(*(items.ItemMetric("share", each, True) for each in (before, hits)))
    seeds = MetricRow(
        Figure("classify.all", "accuracy", "Group", "all", "share", 0.90, 0.94), paired
    )
    assert cells.figure(seeds)[3:5] == ("+4.0", "0 / 4 of 100, first seed")
    alone = MetricRow(
        Figure("classify.all", "accuracy", "Group", "all", "share", 0.90, 0.86), paired
    )
    assert cells.figure(alone)[3:5] == ("-4.0 (-8.6 to +0.7)", "0 / 4 of 100")
