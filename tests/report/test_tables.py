"""The tables of the page, cell by cell."""

from llmill.report import tables


def test_repeats_of_ones_own_questions_are_counted_as_left_out():
    asked = {"rows": 21, "duplicates": 1, "dev": 5, "val": 0, "test": 15}
    assert tables.labelled({"mmlu": asked}).rows[-1] == (
        "questions (dev, val, test)", "21", "1 duplicates", "5", "0", "15",
    )  # fmt: skip
    assert tables.labelled({"mmlu": {"dev": 5, "val": 9, "test": 15}}).rows[-1] == (
        "questions (dev, val, test)", "29", "none", "5", "9", "15",
    )  # fmt: skip
