"""What the embedded judge reads, also where there is no room for all of it."""

from llmill.tasks import grading
from llmill.tasks.prompt import prompt
from llmill.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer({bytes([b]): b for b in range(256)})
END = 256


def test_prompt_and_answer_stand_between_two_ends_of_text():
    found = grading.ids(TOKENIZER, "Add.", "1 + 1", "2", 1000)
    assert found == [END, *prompt("Add.", "1 + 1").encode(), *b"2", END]


def test_too_long_a_prompt_loses_its_left_and_the_answer_nothing():
    found = grading.ids(TOKENIZER, "Add.", "1 + 1", "two", 10)
    assert found == [*b"onse:\n"[-6:], *b"two", END]


def test_too_long_an_answer_loses_its_end_and_is_still_over():
    assert grading.ids(TOKENIZER, "Add.", "", "123456789", 5) == [*b"1234", END]


def test_an_empty_answer_is_the_prompt_and_the_end():
    assert grading.ids(TOKENIZER, "Add.", "", "", 1000)[-2:] == [*b"\n", END]
