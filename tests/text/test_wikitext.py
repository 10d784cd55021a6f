"""WikiText's form: lines of ours, in it."""

import pytest

from llmill.text.files.wikitext import detokenized, pages, words

FILE = (
    " \n = A Village = \n \n It has 1 @,@ 500 people . \n \n = = History = = \n \n Old . \n"
    " = Du Fu = \n \n A poet . \n"
)


def test_a_page_begins_with_its_title_and_holds_its_sections():
    assert pages(FILE) == [
        " = A Village = \n \n It has 1 @,@ 500 people . \n \n = = History = = \n \n Old . \n",
        " = Du Fu = \n \n A poet . \n",
    ]
    assert pages("before \n = Title = \n x \n") == ["before \n", " = Title = \n x \n"]
    assert pages("no title \n") == ["no title \n"]
    assert pages(" \n \n") == []


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (" = Title = \n \n One . \n", " = Title =\n\nOne.\n"),
        (" = = Section = = \n", " == Section ==\n"),
        (" = = = Part = = = \n", " === Part ===\n"),
        (" a well @-@ known man of 1 @,@ 500 , or 2 @.@ 5 ", " a well-known man of 1,500, or 2.5 "),
        ("one ; two : three ! four ? five . six", "one; two: three! four? five. six"),
        ("( born in 1990 ) [ sic ] { x }", "(born in 1990) [sic] {x}"),
        ('he said " no , never " and left', 'he said "no, never" and left'),
        ("the boys ' room", "the boys' room"),
        ("and Ann 's room", "and Ann's room"),
        ("boys ' and Ann 's", "boys'and Ann's"),  # taken for a quotation
        ("20 \N{DEGREE SIGN} C , a <unk> , N of them", "20\N{DEGREE SIGN}C, a <unk>, 1 of them"),
    ],
)
def test_the_text_is_as_it_was_before_it_was_cut_into_words(page, text):
    assert detokenized(page) == text


def test_words_are_the_parts_between_white_space_with_the_empty_ones_at_the_ends():
    assert words(" = A = \n \n One . \n") == 7
    assert words("one @-@ two") == 3
