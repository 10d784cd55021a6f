"""What the embedded judge reads, also where there is no room for all of it."""

from llmill.tasks import grading
from llmill.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer({bytes([b]): b for b in range(256)})
END = 256


def test_task_and_answer_stand_as_question_and_answer_between_two_ends_of_text():
    found = grading.ids(TOKENIZER, "Add.", "1 + 1", "2", 1000)
    assert found == [END, *b"Question: Add. 1 + 1\nAnswer: 2", END]


def test_a_task_without_input_has_no_space_too_many():
    found = grading.ids(TOKENIZER, "Add 1 and 1.", "", "2", 1000)
    assert found == [END, *b"Question: Add 1 and 1.\nAnswer: 2", END]


def test_too_long_a_task_loses_its_left_and_the_answer_nothing():
    found = grading.ids(TOKENIZER, "Add.", "1 + 1", "two", 10)
    assert found == [*b"swer:", *b" two", END]


def test_too_long_an_answer_loses_its_end_and_is_still_over():
    assert grading.ids(TOKENIZER, "Add.", "", "123456789", 5) == [*b" 123", END]


def test_an_empty_answer_is_the_task_and_the_end():
    assert grading.ids(TOKENIZER, "Add.", "", "", 1000)[-3:] == [*b": ", END]
