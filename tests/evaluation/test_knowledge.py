"""What a model knows: which texts count as the value written freely, and what others' texts give."""

import pytest
import torch

from llmill.evaluation.multiple_choice.knowledge import holds, in_template, of_others, written
from llmill.tasks.multiple_choice import Question
from llmill.tasks.templates import ALPACA
from llmill.text.tokenization.template import Template
from tests.evaluation.toys import bytes_tokenizer, decoder

CAPITAL = Question("places", "What is the capital of France?", ["Rome", "Paris", "Lima", "Par"], 1)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Paris", True),
        ("The capital of France is PARIS.", True),
        ("Paris is the capital", True),
        ("Parisian", False),
        ("Rome", False),
        ("Rome or Paris", False),
        ("", False),
    ],
)
def test_a_text_is_right_that_holds_the_right_choice_as_a_word_and_no_other(text, right):
    assert holds(text, CAPITAL) is right


def test_an_answer_of_several_words_is_looked_for_as_it_stands():
    question = Question("arts", "Who painted it?", ["a man of Rome", "Ann Lee", "Ann", "x"], 1)
    assert holds("It was ann  lee, I think", question) is True  # Ann is a part of it
    assert holds("It was Ann Lee or Ann", question) is False
    question = Question("arts", "Who painted it?", ["a man of Rome", "Ann Lee", "Bob", "x"], 1)
    assert holds("It was ann  lee, I think", question) is True


@pytest.mark.parametrize(
    ("text", "choices", "right"),  # the first choice is the right one
    [
        ("Both 1 and 2", ["Both 1 and 2", "1", "2"], True),
        ("New York City.", ["New York", "New York City"], False),
        ("It is 3.5.", ["3.5", "3", "5"], True),
        ("It is 3.5.", ["3", "4"], False),
        ("-5", ["-5", "5"], True),
        ("-5", ["5", "6"], False),
        ("5", ["-5", "5"], False),
        ("It was 1914-1918.", ["1918", "1900"], True),
        ("It was 1914-1918.", ["1914", "1918"], False),
        ("The answer is...42", ["42", "43"], True),
        ("It is .5", ["5", "6"], False),
        ("anything", ["()", "{}"], False),
        ("1", ["1", "()"], True),
        ("法国的首都是巴黎。", ["巴黎", "罗马"], True),
        ("法国的首都是巴黎或罗马。", ["巴黎", "罗马"], False),
        ("เมืองหลวงคือกรุงเทพ", ["กรุงเทพ", "ปารีส"], True),
        ("ประเทศเปรูอยู่ใน", ["เปรู", "ลาว"], True),
        ("共有42个", ["42", "41"], True),
        ("共有142个", ["42", "41"], False),
        ("首都是Paris。", ["Paris", "Rome"], True),
        ("首都是Parisian。", ["Paris", "Rome"], False),
        ("रामा", ["राम", "सीता"], False),  # a vowel sign makes another word of it
    ],
)
def test_a_number_or_a_longer_choice_is_no_part_of_another(text, choices, right):
    assert holds(text, Question("x", "?", choices, 0)) is right


def test_what_the_texts_of_other_questions_give_is_measured():
    others = [CAPITAL, Question("p", "Of Italy?", ["Rome", "Paris"], 0)]
    assert of_others(["Paris", "Rome"], others) == 0.0
    assert of_others(["Rome", "Paris"], others) == 1.0
    assert of_others(["Paris", "Paris"], others) == 0.5


def test_the_first_line_of_what_is_written_greedily_behind_the_question_counts():
    """Against one token after the other, each read with everything before it."""
    model, tokenizer = decoder(block_size=128), bytes_tokenizer()
    ids = [256, *b"Question: What is the capital of France?\nAnswer:"]
    begin = len(ids)
    while (len(ids) < begin + 24 and ids[-1] != 256) or len(ids) == begin:
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    text = tokenizer.decode([i for i in ids[begin:] if i != 256]).strip().split("\n")[0]
    assert written(model, tokenizer, [CAPITAL, CAPITAL]) == [text, text]


def test_a_template_asks_as_the_assistant_is_asked():
    tokenizer = bytes_tokenizer()
    ids = in_template(Template(ALPACA, tokenizer))(CAPITAL)
    text = tokenizer.decode(ids)
    assert "### Instruction:\nWhat is the capital of France?" in text
    assert text.endswith("### Response:\n")
