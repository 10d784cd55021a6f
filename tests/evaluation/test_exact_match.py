"""What counts as the same answer."""

import pytest

from llmill.evaluation.matching.exact_match import same


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("Paris", "paris."),
        ("  The  capital is\nParis ", "The capital is Paris"),
        ('"Paris"', "Paris!"),
        ("cafe\u0301", "café"),
        ("STRASSE", "straße"),
        ("“.5”.", ".5"),
        ("北京。", "北京"),
        ("\u200fמשה", "משה"),
        ("[]", " [] "),
    ],
)
def test_case_spaces_and_outer_marks_do_not_count(answer, reference):
    assert same(answer, reference)


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("-5", "5"),
        ("5%", "5"),
        (".5", "5"),
        ("$5", "5"),
        ("C", "C++"),
        ("Paris, France", "Paris"),
        ("its", "it's"),
        ("", "Paris"),
        ("", ""),
        ("...", "?"),
    ],
)
def test_anything_else_does(answer, reference):
    assert not same(answer, reference)
