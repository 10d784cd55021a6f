import pytest

from llmill.contract.errors import UserError
from llmill.tasks import conversation

USER = {"role": "user", "content": "Hi"}
LO = {"role": "assistant", "content": "Lo"}


def test_names_of_roles_and_keys_of_others_are_one_form():
    said = [
        {"from": "system", "value": "S"},
        {"role": "developer", "content": "D"},
        {"from": "human", "value": "Hi", "weight": 1},
        {"from": "gpt", "value": [{"type": "text", "text": "L"}, {"type": "text", "text": "o"}]},
    ]
    assert conversation.read(said, "X") == [
        {"role": "system", "content": "S"},
        {"role": "system", "content": "D"},
        USER,
        LO,
    ]


def test_what_follows_the_last_answer_is_left_out():
    assert conversation.read([USER, LO, USER, USER], "X") == [USER, LO]


def test_half_a_character_is_replaced_and_a_whole_one_kept():
    said = [{"role": "user", "content": "\ud83d \ud83d\ude00"}, LO]
    assert conversation.read(said, "X")[0]["content"] == "\ufffd \U0001f600"


NO_CALLS = "message 2: calls of tools are not read; remove the conversation"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (None, "expected a list of messages, found None"),
        ([], r"expected a list of messages, found \[\]"),
        ([LO, USER], "the conversation begins with the assistant"),
        ([{"role": "system", "content": "S"}, LO], "the conversation begins with the assistant"),
        ([USER, LO, LO], "message 3 is an answer, but none of the user's is right before it"),
        ([USER, {"role": "system", "content": "S"}, LO], "message 3 is an answer, but none"),
        ([USER], "no message of the assistant, so nothing to learn"),
        ([USER, {**LO, "role": "tool"}], NO_CALLS),
        ([USER, {**LO, "role": "function"}], NO_CALLS),
        ([USER, {"from": "function_call", "value": "{}"}], NO_CALLS),
        ([USER, {**LO, "tool_calls": [{"id": "1"}]}], NO_CALLS),  # beside its text
        ([USER, {"role": "assistant", "tool_calls": [{"id": "1"}]}], NO_CALLS),
        ([USER, {**LO, "function_call": {"name": "f"}}], NO_CALLS),
        (
            [USER, {**LO, "role": "critic"}],
            "message 2: unknown role 'critic'; one of system, user, assistant, developer, human, gpt",
        ),
        ([USER, {**LO, "role": ["x"]}], r"message 2: unknown role \['x'\]"),
        ([{**USER, "content": " \n"}, LO], "message 1: 'content' is empty; remove the message"),
        ([{**USER, "content": []}, LO], "message 1: 'content' is empty"),
        ([{**USER, "content": 3}, LO], "message 1: 'content' is int, expected text"),
        ([{**USER, "content": ["x"]}, LO], "message 1: 'content' has a part of type 'str'"),
        (
            [{**USER, "content": [{"type": "image_url"}]}, LO],
            "a part of type 'image_url', expected",
        ),
        ([{**USER, "content": [{"type": "text"}]}, LO], "message 1: 'text' is null"),
        ([{"from": "human"}, LO], "message 1: no key 'value'"),
        (["Hi", LO], "message 1: expected an object with role and content"),
    ],
)
def test_what_makes_no_conversation_is_one_line(said, reason):
    with pytest.raises(UserError, match=f"^X.*{reason}"):
        conversation.read(said, "X")
