"""Requests as texts to be written: what is read, how it goes on, and when it ends."""

import secrets
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


def of_completion(asked: Completion, served: Served, limits: Limits) -> list[Order]:
    """A text for each prompt. A text as prompt stands behind <|endoftext|>, which is not echoed."""
    if len(asked.prompt) > limits.waiting:
        message = f"prompt: {len(asked.prompt)}, but at most {limits.waiting} are taken at once"
        raise Refusal(400, message, "prompt", "invalid_value")
    found = []
    for prompt in asked.prompt:
        if isinstance(prompt, str):
            ids = served.text(prompt, "prompt")
            echoed = ids[1:]
        else:
            ids = echoed = served.ids(prompt, "prompt")
        shown = echoed if asked.echo else None
        found.append(_order(asked, served, ids, asked.max_tokens, shown, asked.logprobs))
    _allowed(found, "prompt", "max_tokens", limits)
    return found


def of_chat(asked: Chat, served: Served, limits: Limits) -> list[Order]:
    """The answer to the last message. Without a number of tokens, as many as fit."""
    ids = served.conversation(asked.messages)
    name = "max_tokens" if asked.max_completion_tokens is None else "max_completion_tokens"
    wanted = getattr(asked, name) or max(1, min(limits.tokens, served.context - len(ids)))
    top = (asked.top_logprobs or 0) if asked.logprobs else None
    found = [_order(asked, served, ids, wanted, None, top, "messages")]
    _allowed(found, "messages", name, limits)
    return found


def _order(
    asked: TextRequest,
    served: Served,
    ids: list[int],
    max_tokens: int,
    echoed: list[int] | None,
    top: int | None,
    param: str = "prompt",
) -> Order:
    if len(ids) + max_tokens > served.context:
        what = f"{param}: {len(ids)} tokens and {max_tokens} to be written"
        raise too_long(what, served.context, param)
    seed = secrets.randbits(63) if asked.seed is None else asked.seed
    return Order(
        served, ids, max_tokens, asked.choice, seed, tuple(asked.stop), echoed=echoed, top=top
    )


def _allowed(orders: list[Order], prompts: str, most: str, limits: Limits) -> None:
    """Refuse what would be read or written beyond the limits; these are the fields that say so."""
    read = sum(len(order.prompt) for order in orders)
    written = sum(order.max_tokens for order in orders)
    for param, asked, limit in ((prompts, read, limits.read), (most, written, limits.tokens)):
        if asked > limit:
            message = f"{param}: {asked} tokens in all, but a request may have {limit}"
            raise Refusal(400, message, param, "invalid_value")
