"""When the mean scores of an embedded judge are not shown, and why."""

import pytest

from llmill.report.bar import missed

NONE_RIGHT = {"short_of": [], "unmeasured": ["no right answer"]}
ALL_RIGHT = {"short_of": [], "unmeasured": []}  # there is no other answer to compare with
MEASURED = {"short_of": [], "unmeasured": [], "auc": 0.9}
SHORT = {"short_of": ["a constant gets 36"], "unmeasured": [], "auc": 0.9}


@pytest.mark.parametrize(
    ("judged", "why"),
    [
        ([NONE_RIGHT], ["no right answer"]),
        ([NONE_RIGHT, NONE_RIGHT], ["no right answer"]),
        ([NONE_RIGHT, MEASURED], []),
        ([NONE_RIGHT, ALL_RIGHT], []),
        ([NONE_RIGHT, SHORT, SHORT], ["a constant gets 36"]),
        ([{"backend": "openai"}], []),
        ([], []),
    ],
)
def test_a_limit_that_one_model_measured_counts_as_measured(judged, why):
    assert missed(judged) == why
