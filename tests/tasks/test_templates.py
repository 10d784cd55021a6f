import pytest

from llmill.contract.errors import UserError
from llmill.tasks import templates
from llmill.tasks.instruction import Instruction
from llmill.tasks.templates import ALPACA, CHATML, PLAIN
from llmill.text.tokenization.template import Template
from llmill.text.tokenization.tokenizer import Tokenizer
from tests.evaluation.toys import bytes_tokenizer

WITH_INPUT = (
    "<|endoftext|>Below is an instruction that describes a task, paired with an input that provides "
    "further context. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nTranslate.\n\n### Input:\nBonjour {x}\n\n### Response:\n"
)
HEAD = (
    "<|endoftext|>Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n### Instruction:\n"
)
TAIL = "\n\n### Response:\n"


def said(role: str, content) -> dict:
    return {"role": role, "content": content}


def read(source: str, *messages: dict) -> str:
    template = Template(source, bytes_tokenizer())
    return bytes_tokenizer().decode(template.prompt(messages))


def test_a_task_with_input_is_put_as_alpaca_does():
    assert read(ALPACA, *Instruction("Translate.", "Bonjour {x}", "").asked) == WITH_INPUT


def test_a_task_without_input_is_shorter():
    assert read(ALPACA, said("user", "Name a metal.")) == f"{HEAD}Name a metal.{TAIL}"


def test_other_templates_put_the_input_under_the_instruction():
    assert read(CHATML, *Instruction("Translate.", "Bonjour", "").asked) == (
        "<|im_start|>user\nTranslate.\n\nBonjour<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([said("system", "Be brief."), said("user", "Hi")], f"{HEAD}Be brief.\n\nHi{TAIL}"),
        ([said("user", "A"), said("user", "B")], f"{HEAD}A\n\nB{TAIL}"),
        (
            [said("system", "S"), said("user", "A"), said("assistant", "B"), said("user", "C")],
            f"{HEAD}S\n\nA{TAIL}B<|endoftext|>{HEAD}C{TAIL}",
        ),
        (
            [said("user", "A"), said("assistant", "B"), *Instruction("Translate.", "Bonjour {x}", "").asked],
            f"{HEAD}A{TAIL}B<|endoftext|>{WITH_INPUT}",
        ),
    ],
)  # fmt: skip
def test_alpacas_turns_stand_behind_one_another_each_as_if_it_were_the_first(messages, text):
    assert read(ALPACA, *messages) == text


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([said("user", "Hi")], "<|endoftext|>User: Hi\nAssistant:"),
        (
            [said("system", "Be brief."), said("user", "Hi")],
            "<|endoftext|>User: Be brief.\n\nHi\nAssistant:",
        ),
        (
            Instruction("Translate.", "Bonjour", "").asked,
            "<|endoftext|>User: Translate.\n\nBonjour\nAssistant:",
        ),
        (
            [said("user", "A"), said("assistant", " B "), said("user", "C")],
            "<|endoftext|>User: A\nAssistant: B<|endoftext|><|endoftext|>User: C\nAssistant:",
        ),
    ],
)
def test_the_plain_template_has_two_words(messages, text):
    assert read(PLAIN, *messages) == text


def test_the_space_before_an_answer_is_learnt_as_part_of_its_first_word():
    template = Template(PLAIN, bytes_tokenizer())
    ids, learnt = template.learnt([said("user", "A"), said("assistant", "B")])
    assert [i for i, is_learnt in zip(ids, learnt, strict=True) if is_learnt] == [*b" B", 256]
    assert template.prompt([said("user", "A")]) == ids[:-3]


@pytest.mark.parametrize("source", [ALPACA, PLAIN])
@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([said("assistant", "A")], "an answer needs a user's message right before it"),
        ([said("system", "S"), said("assistant", "A")], "an answer needs a user's message"),
        ([said("tool", "A")], "unknown role 'tool'"),
    ],
)
def test_what_cannot_be_put_is_said(source, messages, reason):
    with pytest.raises(UserError, match=reason):
        read(source, *messages)


@pytest.mark.parametrize("source", [ALPACA, PLAIN, CHATML])
def test_all_join_parts_of_text_and_name_another_part(source):
    jinja = Template(source, bytes_tokenizer())._compiled
    part = {"type": "text", "text": "a"}
    whole = jinja.render(messages=[said("user", "aa")])
    assert jinja.render(messages=[said("user", [part, part])]) == whole
    with pytest.raises(Exception, match="a part of type 'image_url', expected text"):
        jinja.render(messages=[said("user", [part, {"type": "image_url"}])])


def test_chatml_ends_a_turn_with_what_ends_a_text_where_there_is_no_token_of_its_own():
    chatml = Tokenizer({b"a": 0}, special={"<|im_end|>": 1}, end_name="<|im_end|>")
    assert templates.source("chatml", chatml, None) == CHATML
    source = templates.source("chatml", bytes_tokenizer(), None)
    assert read(source, said("user", "Hi")) == (
        "<|im_start|>user\nHi<|endoftext|>\n<|im_start|>assistant\n"
    )


def test_the_template_of_weights_is_had_or_missed_in_one_line():
    assert templates.source("weights", bytes_tokenizer(), "{{ 1 }}") == "{{ 1 }}"
    with pytest.raises(UserError, match=r"instruct\.template weights: the foundation model has no"):
        templates.source("weights", bytes_tokenizer(), None)


def test_a_template_is_told_the_same_day_whenever_it_is_trained_with():
    template = templates.for_training("{{ strftime_now('%Y-%m-%d') }}", bytes_tokenizer())
    assert template.text([]) == "2026-01-01"
