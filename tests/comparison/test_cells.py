"""The cells of a comparison: a change of every unit that a report has."""

import pytest

from llmill.comparison import cells
from llmill.comparison.chain import Row
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
    row = Row(Figure("a.key", "report", "Group", "a figure", unit, before, after), None)
    assert cells.figure(row)[3] == change
