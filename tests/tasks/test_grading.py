"""What the embedded judge reads, also where there is no room for all of it."""

from llmill.tasks import grading
from llmill.text.tokenization.tokenizer import Tokenizer

TOKENIZER = Tokenizer({bytes([b]): b for b in range(256)})
END = 256


def test_task_reference_and_answer_each_end_with_the_end_of_text():
    found = grading.ids(TOKENIZER, "Add.", "1 + 1", "2", "two", 1000)
    assert found == [END, *b"Question: Add. 1 + 1\nAnswer:", END, *b" 2", END, *b" two", END]


def test_a_task_without_input_has_no_space_too_many():
    found = grading.ids(TOKENIZER, "Add 1 and 1.", "", "2", "3", 1000)
    assert found == [END, *b"Question: Add 1 and 1.\nAnswer:", END, *b" 2", END, *b" 3", END]


def test_too_long_a_task_loses_its_left_and_reference_and_answer_nothing():
    found = grading.ids(TOKENIZER, "Add.", "1 + 1", "2", "two", 14)
    assert found == [*b"swer:", END, *b" 2", END, *b" two", END]


def test_too_long_an_answer_loses_its_end_and_is_still_over():
    assert grading.ids(TOKENIZER, "Add.", "", "2", "123456789", 5) == [END, *b" 12", END]


def test_an_empty_answer_is_nothing_between_two_ends_of_text():
    assert grading.ids(TOKENIZER, "Add.", "", "2", "", 1000)[-4:] == [*b"2", END, *b" ", END]
