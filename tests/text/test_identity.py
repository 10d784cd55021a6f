from llmill.text.identity import fraction, normal


def test_the_normal_form_forgets_case_and_white_space_only():
    assert normal("  Hello\n\tWORLD ") == normal("hello world") == "hello world"
    assert normal("hello, world") != normal("hello world")


def test_fractions_follow_from_content_and_purpose_and_are_spread():
    assert fraction("a", "split") == fraction("a", "split") != fraction("a", "weight")
    found = [fraction(str(i), "split") for i in range(2000)]
    assert all(0 <= f < 1 for f in found)
    assert 900 < sum(f < 0.5 for f in found) < 1100
