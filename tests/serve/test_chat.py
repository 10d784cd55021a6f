"""`/v1/chat/completions` and `/v1/models`: what the assistant reads, and how it answers."""

import pytest

from llmill.models import LanguageModel
from llmill.serve.served import Served
from llmill.tasks import templates
from llmill.text.tokenization.template import Template
from tests.evaluation.toys import alpaca_prompt, decoder
from tests.serve.served import END, TOKENIZER, alone, serving


def said(role: str, content) -> dict:
    return {"role": role, "content": content}


CONVERSATIONS = [
    ([said("user", "Hi")], alpaca_prompt("Hi")),
    (
        [said("user", "Hi"), said("assistant", "Lo"), said("user", "And?")],
        [*alpaca_prompt("Hi"), *b"Lo", END, *alpaca_prompt("And?")],
    ),
    ([said("system", "Be brief."), said("user", "Hi")], alpaca_prompt("Be brief.\n\nHi")),
    ([said("developer", "A"), said("user", "B"), said("user", "C")], alpaca_prompt("A\n\nB\n\nC")),
    (
        [said("user", [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}])],
        alpaca_prompt("Hi"),
    ),
]


@pytest.mark.parametrize(("messages", "ids"), CONVERSATIONS)
def test_messages_are_read_as_the_assistant_was_trained(server, client, messages, ids):
    made = client.chat.completions.create(
        model="instruct", messages=messages, max_tokens=9, temperature=0
    )
    (choice,) = made.choices
    assert choice.message.content == TOKENIZER.decode(alone(server.models["instruct"], ids, 9))
    assert choice.message.role == "assistant"
    assert made.object == "chat.completion"
    assert made.usage.prompt_tokens == len(ids)


def test_messages_are_put_into_the_models_own_template():
    """In ChatML with this tokenizer a turn ends as a text does; several turns, a system message."""
    source = templates.source("chatml", TOKENIZER, None)
    language = LanguageModel(decoder(1, 512), TOKENIZER, Template(source, TOKENIZER))
    served = Served("chatml", language)
    messages = [
        said("system", "Be brief."), said("user", "Hi"), said("assistant", "Lo"), said("user", "And?")
    ]  # fmt: skip
    ids = [
        *b"<|im_start|>system\nBe brief.", END, *b"\n<|im_start|>user\nHi", END,
        *b"\n<|im_start|>assistant\nLo", END, *b"\n<|im_start|>user\nAnd?", END,
        *b"\n<|im_start|>assistant\n",
    ]  # fmt: skip
    with serving({"chatml": served}) as running:
        made = running.client().chat.completions.create(
            model="chatml", messages=messages, max_tokens=9, temperature=0
        )
    assert made.choices[0].message.content == TOKENIZER.decode(alone(served, ids, 9))
    assert made.usage.prompt_tokens == len(ids)


def test_what_the_template_refuses_is_said_with_its_reason():
    source = "{{ raise_exception('no system message') }}"
    language = LanguageModel(decoder(1, 512), TOKENIZER, Template(source, TOKENIZER))
    with serving({"m": Served("m", language)}) as running:
        response = running.post("chat/completions", model="m", messages=[said("user", "Hi")])
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (
        400,
        "messages",
        "invalid_value",
    )
    assert error["message"] == (
        "messages: the chat template cannot take these messages: no system message"
    )


def test_an_answer_can_be_sent_back_as_it_came(client):
    first = client.chat.completions.create(
        model="instruct", messages=[said("user", "Hi")], max_tokens=9, seed=1
    )
    message = first.choices[0].message
    again = [said("user", "Hi"), message.model_dump(), said("user", "And?")]
    made = client.chat.completions.create(model="instruct", messages=again, max_tokens=9)
    kept = len(TOKENIZER.encode(message.content))
    assert made.usage.prompt_tokens == len(alpaca_prompt("Hi")) + kept + 1 + len(
        alpaca_prompt("And?")
    )


def test_without_a_number_of_tokens_an_answer_may_fill_the_context(client, parrot):
    asked = {"model": "instruct", "messages": [said("user", "Hi")], "temperature": 0}
    made = client.chat.completions.create(**asked)
    assert (made.choices[0].finish_reason, made.usage.total_tokens) == ("length", 512)
    made = parrot.client().chat.completions.create(**asked)
    assert (made.choices[0].message.content, made.choices[0].finish_reason) == ("87.", "stop")


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_both_names_of_the_number_of_tokens_are_read(client, name):
    made = client.chat.completions.create(
        model="instruct", messages=[said("user", "Hi")], seed=1, **{name: 3}
    )
    assert made.usage.completion_tokens == 3


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0},
        {"temperature": 1.2, "seed": 9, "logprobs": True, "top_logprobs": 2},
        {"temperature": 0, "stop": "9"},
    ],
)
def test_a_stream_brings_what_the_whole_answer_holds(client, options):
    asked = {
        "model": "instruct", "messages": [said("user", "Hi")], "max_completion_tokens": 30, **options,
    }  # fmt: skip
    whole = client.chat.completions.create(**asked)
    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage == whole.usage
    choices = [chunk.choices[0] for chunk in chunks[:-1]]
    assert "".join(c.delta.content or "" for c in choices) == whole.choices[0].message.content
    assert [c.finish_reason for c in choices if c.finish_reason] == [whole.choices[0].finish_reason]
    if whole.choices[0].logprobs:
        told = [each for c in choices for each in (c.logprobs.content if c.logprobs else [])]
        assert told == whole.choices[0].logprobs.content


def test_log_probabilities_come_with_their_bytes(client):
    (choice,) = client.chat.completions.create(
        model="instruct",
        messages=[said("user", "Hi")],
        max_tokens=8,
        temperature=0,
        logprobs=True,
        top_logprobs=20,
    ).choices
    content = b"".join(bytes(each.bytes) for each in choice.logprobs.content)
    assert content.decode(errors="replace") == choice.message.content
    for each in choice.logprobs.content:
        assert len(each.top_logprobs) == 20
        assert each.top_logprobs[0].token == each.token
        assert each.top_logprobs[0].logprob == each.logprob


def test_models_are_listed_and_found_by_name(client):
    import openai

    assert [model.id for model in client.models.list()] == ["instruct", "pretrain"]
    found = client.models.retrieve("pretrain")
    assert (found.object, found.owned_by) == ("model", "llmill")
    assert (found.context, found.chat) == (512, False)
    with pytest.raises(openai.NotFoundError, match="instruct, pretrain"):
        client.models.retrieve("some/other")


def test_a_foundation_model_refuses_messages_and_says_what_it_does(client):
    import openai

    with pytest.raises(openai.BadRequestError, match="/v1/completions goes on") as refused:
        client.chat.completions.create(model="pretrain", messages=[said("user", "Hi")])
    assert refused.value.param == "model"
    assert refused.value.code == "not_a_chat_model"


def test_the_assistant_goes_on_with_a_plain_text_too(server, client):
    made = client.completions.create(model="instruct", prompt="Hi", max_tokens=5, temperature=0)
    expected = alone(server.models["instruct"], [END, *b"Hi"], 5)
    assert made.choices[0].text == TOKENIZER.decode(expected)


def test_minus_one_tokens_and_what_messages_carry_beside_their_text_are_taken(server):
    hello = {
        **said("user", [{"type": "text", "text": "Hi", "cache_control": {"type": "x"}}]),
        "id": 1,
    }
    asked = {"model": "instruct", "temperature": 0}
    expected = server.post("chat/completions", messages=[said("user", "Hi")], **asked).json()
    for name in ("max_tokens", "max_completion_tokens"):
        made = server.post("chat/completions", messages=[hello], **asked, **{name: -1})
        assert made.json()["choices"] == expected["choices"]
        assert made.json()["usage"] == expected["usage"]
