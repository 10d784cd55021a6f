import unicodedata

from llmill.text.identity import fraction, normal


def test_the_normal_form_forgets_case_and_white_space_only():
    assert normal("  Hello\n\tWORLD ") == normal("hello world") == "hello world"
    assert normal("hello, world") != normal("hello world")


def test_the_normal_form_forgets_unicode_form_and_characters_that_show_nothing():
    for text in (
        "Caf\u00e9 \ufb01n",  # one character for a letter and its accent; a ligature
        "cafe\u0301 fin",  # two; two
        "CAFE\u0301\u00a0F\u00adI\u200bN\ufeff",  # no-break space, soft hyphen, zero widths
        "cafe\u200d\u0301 fin",  # a joiner between letter and accent
        "\uff43\uff41\uff46\u00e9\u3000fin",  # full width
    ):
        assert normal(text) == "caf\u00e9 fin"
    assert normal("👩\u200d👧\ufe0f") == normal("👩👧")
    assert normal("élève") != normal("eleve")


def test_the_normal_form_is_its_own_and_that_of_every_unicode_form():
    for number in (*range(0xD800), *range(0xE000, 0x3200), 0x1D15E, 0x1E921, 0x2F800):
        text = f"a{chr(number)}\u0301b"
        once = normal(text)
        forms = {normal(unicodedata.normalize(form, text)) for form in ("NFC", "NFD", "NFKC")}
        assert {normal(once), *forms} == {once}


def test_a_million_marks_on_one_letter_take_no_time_with_the_square_of_their_number():
    marks = "\u0301\u0323" * 500_000  # to be put in another order; ten minutes before
    assert normal("a" + marks + "b") == normal("a" + marks[:30] + "b")
    assert len(normal("a" + "\u0301\u200b" * 500_000)) < 40


def test_fractions_follow_from_content_and_purpose_and_are_spread():
    assert fraction("a", "split") == fraction("a", "split") != fraction("a", "weight")
    found = [fraction(str(i), "split") for i in range(2000)]
    assert all(0 <= f < 1 for f in found)
    assert 900 < sum(f < 0.5 for f in found) < 1100
