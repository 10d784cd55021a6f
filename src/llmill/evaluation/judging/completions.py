"""Chat completions of the OpenAI interface: requests, replies, and their token usage."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import httpx

from llmill.contract import elsewhere
from llmill.evaluation.judging import budget
from llmill.evaluation.judging.budget import Usage
from llmill.evaluation.judging.settings import JudgeServer, Price
from llmill.text.halves import without_halves

TEXTS = ("text", "output_text")  # types of message parts that hold text, not thoughts
TEMPLATE = 256  # most tokens that a server's template may add to a message

Request = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """A server's reply; `cut` if it reached `max_tokens` before its end."""

    key: str  # of the request, by content
    text: str
    cut: bool
    usage: Usage | None  # None if the server does not report it


def request(settings: JudgeServer, text: str, sample: int = 0) -> Request:
    """Return the body of a request. Each sample has its own seed."""
    return {
        "model": settings.model,
        "temperature": settings.temperature,
        "seed": _seed(settings.seed, sample),
        "max_tokens": settings.max_tokens,
        "messages": [{"role": "user", "content": text}],
    }


def most(request: Request) -> Usage:
    """Return the most that a request can use, given that a token is at least one byte."""
    texts = (message["content"] for message in request["messages"])
    return Usage(sum(len(text.encode()) for text in texts) + TEMPLATE, request["max_tokens"])


def taken(reply: Reply, request: Request) -> Usage:
    """Return the usage that the server reports, or the most that the request can have used."""
    return most(request) if reply.usage is None else reply.usage


def usage(replies: Iterable[Reply], price: Price) -> dict[str, int | float]:
    """Return the tokens of the replies, the number of replies without a usage (`uncounted`), and
    the cost if there is a price. A reply to several equal requests counts once.
    """
    once = {reply.key: reply.usage for reply in replies}
    said = [each for each in once.values() if each is not None]
    total = sum(said, budget.NOTHING)
    cost = total.cost(price)
    return {
        "input": total.input,
        "output": total.output,
        "uncounted": len(once) - len(said),
        **({} if cost is None else {"cost": cost}),
    }


def read(key: str, response: httpx.Response) -> Reply | None:
    """Return the text of the first choice, joined if it has parts, or its refusal. A message
    without text (only thoughts) gives an empty text. None if the response is not a completion.
    """
    try:
        body = elsewhere.parsed(response.content)
        choice = body["choices"][0]
        message = choice["message"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    if not isinstance(message, dict):
        return None
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(map(_text, content))
    elif content is None:
        content = message.get("refusal")
    if not isinstance(content, str):
        content = ""
    text = without_halves(content)
    return Reply(key, text, choice.get("finish_reason") == "length", _usage(body))


def _usage(body: Mapping[str, Any]) -> Usage | None:
    said = body.get("usage")
    if not isinstance(said, dict):
        return None
    tokens_in, tokens_out = said.get("prompt_tokens"), said.get("completion_tokens")
    if _is_count(tokens_in) and _is_count(tokens_out):
        return Usage(tokens_in, tokens_out)
    return None


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _text(part: Any) -> str:
    """Return the text of a part of a message; "" if it has none."""
    if isinstance(part, dict) and part.get("type", "text") in TEXTS:
        part = part.get("text")
    return part if isinstance(part, str) else ""


def _seed(seed: int, sample: int) -> int:
    """Return the seed of a sample, by hash, so that nearby seeds share no samples."""
    if sample == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed} {sample}".encode()).digest()[:4]) >> 1
