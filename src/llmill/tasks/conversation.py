"""Conversations: messages with the roles system, user and assistant, in the formats of OpenAI's API
and of ShareGPT.

Every answer must come right after a message of the user. Messages after the last answer are left
out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from llmill.contract.elsewhere import quoted
from llmill.contract.errors import UserError
from llmill.text.halves import without_halves

Message = dict[str, str]  # role and content

ROLES = ("system", "user", "assistant")
TOOLS = ("tool", "function", "function_call", "observation")  # roles of calls and their results
CALLS = ("tool_calls", "function_call")  # keys of a message that calls tools
SAME = {"developer": "system", "human": "user", "gpt": "assistant"}  # in other formats -> ours
BETWEEN = "\n\n"  # separates joined texts, as it separates the prompts' paragraphs


def message(role: str, content: str) -> Message:
    """Return one message."""
    return {"role": role, "content": content}


def said(messages: Sequence[Message]) -> list[str]:
    """Return what the user and the assistant say, in order."""
    return [each["content"] for each in messages if each["role"] != "system"]


def text(value: Any, key: str, where: str) -> str:
    """Return a string that UTF-8 can hold. Raises `UserError` for another type."""
    if not isinstance(value, str):
        kind = "null" if value is None else type(value).__name__
        raise UserError(f"{where}: '{key}' is {kind}, expected text")
    return without_halves(value)


def with_system(entry: Mapping[str, Any], messages: list[Message], where: str) -> list[Message]:
    """Prepend the text that some datasets store under `system` beside the messages."""
    given = entry.get("system")
    content = "" if given is None else text(given, "system", where)
    first = messages[0] if messages else message("user", "")
    is_there = first["role"] == "system" and first["content"].strip() == content.strip()
    if is_there or not content.strip():
        return messages
    if any(each["role"] == "system" for each in messages):
        raise UserError(f"{where}: 'system' beside messages that have another one; remove either")
    return [message("system", content), *messages]


def content(value: Any, key: str, where: str) -> str:
    """Return a text, or the joined texts of a list of parts. Raises `UserError` that names a part
    of another kind.
    """
    if not isinstance(value, list):
        return text(value, key, where)
    parts = []
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        if kind != "text":
            raise UserError(f"{where}: '{key}' has a part of type {quoted(kind)}, expected text")
        parts.append(text(part.get("text"), "text", where))
    return "".join(parts)


def messages(value: Any, where: str) -> list[Message]:
    """Return messages as they came, each with `role` and `content`, or with `from` and `value`.
    Raises `UserError` for anything else.
    """
    if not isinstance(value, list) or not value:
        raise UserError(f"{where}: expected a list of messages, found {quoted(value)}")
    return [_read(each, f"{where}, message {n}") for n, each in enumerate(value, 1)]


def read(value: Any, where: str) -> list[Message]:
    """Return the messages of a conversation up to its last answer. Raises `UserError` for a value
    that is not a conversation.
    """
    found = messages(value, where)
    _check(found, where)
    last = max(n for n, each in enumerate(found) if each["role"] == "assistant")
    return found[: last + 1]


def _read(value: Any, where: str) -> Message:
    if not isinstance(value, dict):
        raise UserError(f"{where}: expected an object with role and content")
    if value.get("role", value.get("from")) in TOOLS or any(value.get(key) for key in CALLS):
        raise UserError(f"{where}: calls of tools are not read; remove the conversation")
    names = ("from", "value") if "role" not in value and "from" in value else ("role", "content")
    missing = next((name for name in names if name not in value), None)
    if missing:
        raise UserError(f"{where}: no key '{missing}'")
    given = value[names[0]]
    role = SAME.get(given, given) if isinstance(given, str) else given
    if role not in ROLES:
        allowed = (*ROLES, *SAME)
        raise UserError(f"{where}: unknown role {quoted(given)}; one of {', '.join(allowed)}")
    written = content(value[names[1]], names[1], where)
    if not written.strip():
        raise UserError(f"{where}: '{names[1]}' is empty; remove the message or write one")
    return message(role, written)


def _check(messages: Sequence[Message], where: str) -> None:
    """Raise `UserError` unless there is an answer and each follows a message of the user."""
    before = None
    for number, each in enumerate(messages, 1):
        if each["role"] == "assistant" and before != "user":
            place = "the conversation begins with the assistant"
            if any(m["role"] != "system" for m in messages[: number - 1]):
                place = f"message {number} is an answer, but none of the user's is right before it"
            raise UserError(f"{where}: {place}")
        before = each["role"]
    if not any(each["role"] == "assistant" for each in messages):
        raise UserError(f"{where}: no message of the assistant, so nothing to learn")
