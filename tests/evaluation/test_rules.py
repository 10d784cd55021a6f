"""What is right or wrong without a judge, and what is left to one."""

import pytest

from llmill.evaluation.matching.rules import decide, number

REFERENCE = "The capital of France is Paris."
LISTS = {"paraphrases": ["Paris", "It is Paris."], "wrong": ["It is Rome."]}


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("the capital of  France is Paris", True),
        ("“Paris”", True),
        ("It is Rome!", False),
        ("", False),
        (" . ", False),
        ("Its capital is called Paris.", None),
        ("The capital of France is Rome.", None),
    ],
)
def test_a_rule_decides_what_is_listed_and_leaves_the_rest(answer, right):
    assert decide(answer, REFERENCE, **LISTS) is right


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("1,200", "1200", True),
        ("12.0", "12", True),
        ("−3", "-3", True),
        ("13", "12", False),
        (".5", "0.5", True),
        (".5", "5", False),
        ("1,200,000.50", "1200000.5", True),
        ("1,5", "15", None),
        ("1, 2", "12", None),
        ("9007199254740993", "9007199254740992", False),
        ("12 km", "12", None),
        ("twelve", "12", None),
        ("()", "()", True),
        ("()", "12", False),
        ("()", "[]", None),
    ],
)
def test_two_numbers_are_compared_as_numbers(answer, reference, right):
    assert decide(answer, reference) is right


def test_a_text_with_a_number_in_it_is_no_number():
    assert [number(text) for text in ("7.", "+7", "seven", "7 of 9", "7-8", "")] == [
        7.0, 7.0, None, None, None, None
    ]  # fmt: skip
