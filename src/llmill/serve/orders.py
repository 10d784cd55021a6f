"""Requests as texts to be written: what is read, how it goes on, and when it ends."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from llmill.model.generate import Choice
from llmill.serve.limits import Limits
from llmill.serve.refusal import Refusal
from llmill.serve.requests import Chat, Completion, TextRequest
from llmill.serve.served import Served, too_long


@dataclass(frozen=True)
class Order:
    """One text: the prompt's ids, how many tokens at most, how they are chosen."""

    served: Served
    prompt: list[int]
    max_tokens: int
    choice: Choice
    seed: int
    stop: tuple[str, ...]
    echoed: list[int] | None = None  # the end of the prompt that is given back
    top: int | None = None  # likeliest tokens told beside each; None: no log-probabilities at all


def of_completion(body: Completion, served: Served, limits: Limits) -> list[Order]:
    """A text for each prompt. A text as prompt stands behind <|endoftext|>, which is not echoed."""
    if len(body.prompt) > limits.waiting:
        message = f"prompt: {len(body.prompt)}, but at most {limits.waiting} are taken at once"
        raise Refusal(400, message, "prompt", "invalid_value")
    prompts: Sequence[str | list[int]] = body.prompt
    most = limits.tokens // len(prompts)
    orders = []
    for index, prompt in enumerate(prompts):
        if isinstance(prompt, str):
            ids = served.text(prompt, "prompt")
            echoed = ids[1:]
        else:
            ids = echoed = served.ids(prompt, "prompt")
        echo = echoed if body.echo else None
        max_tokens = body.max_tokens
        if max_tokens is None:
            max_tokens = _as_many_as_fit(served, ids, most)
        orders.append(_order(body, served, ids, max_tokens, echo, body.logprobs, index=index))
    _allowed(orders, "prompt", "max_tokens", limits)
    return orders


def of_chat(body: Chat, served: Served, limits: Limits) -> list[Order]:
    """The answer to the last message. Without a number of tokens, as many as fit."""
    ids = served.conversation(body.messages)
    name = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
    max_tokens = getattr(body, name) or _as_many_as_fit(served, ids, limits.tokens)
    top = (body.top_logprobs or 0) if body.logprobs else None
    orders = [_order(body, served, ids, max_tokens, None, top, "messages")]
    _allowed(orders, "messages", name, limits)
    return orders


def _order(
    body: TextRequest,
    served: Served,
    ids: list[int],
    max_tokens: int,
    echoed: list[int] | None,
    top: int | None,
    param: str = "prompt",
    index: int = 0,
) -> Order:
    """`index` within the request: the same prompt twice is two draws, as with `generate`."""
    if len(ids) + max_tokens > served.context:
        what = f"{param}: {len(ids)} tokens and {max_tokens} to be written"
        raise too_long(what, served.context, param)
    seed = secrets.randbits(63) if body.seed is None else body.seed + index
    return Order(
        served, ids, max_tokens, body.choice, seed, tuple(body.stop), echoed=echoed, top=top
    )


def _as_many_as_fit(served: Served, ids: list[int], most: int) -> int:
    return max(1, min(most, served.context - len(ids)))


def _allowed(orders: list[Order], prompts: str, most: str, limits: Limits) -> None:
    """Refuse what would be read or written beyond the limits; these are the fields that say so."""
    n_read = sum(len(order.prompt) for order in orders)
    n_written = sum(order.max_tokens for order in orders)
    for param, count, limit in ((prompts, n_read, limits.read), (most, n_written, limits.tokens)):
        if count > limit:
            message = f"{param}: {count} tokens in all, but a request may have {limit}"
            raise Refusal(400, message, param, "invalid_value")
