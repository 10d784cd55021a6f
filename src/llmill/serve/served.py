"""A served model: its name, what it reads of a prompt or of messages, and the texts that a request
orders: how each continues, and when it ends.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from llmill.contract.errors import UserError
from llmill.contract.weight_types import WeightType
from llmill.model.checkpoint import Shared
from llmill.model.generate import Choice
from llmill.models import LanguageModel, language_model
from llmill.serve.errors import ApiError
from llmill.serve.limits import Limits
from llmill.serve.requests import Chat, ChatMessage, Completion, TextRequest

ROLE = {"developer": "system"}


@dataclass(frozen=True)
class Served:
    """A language model with a name."""

    name: str
    language: LanguageModel
    created: int = field(default_factory=lambda: int(time.time()))  # seconds since 1970

    @property
    def context(self) -> int:
        """Tokens that the model can read, including its own."""
        return self.language.model.config.block_size

    @cached_property
    def _longest(self) -> int:
        """Bytes of the longest token."""
        return max(map(len, self.language.tokenizer.ranks))

    def card(self) -> dict[str, Any]:
        """Return the model's entry in `/v1/models`; `context` and `chat` are our own fields."""
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "llmill",
            "context": self.context,
            "chat": self.language.assistant,
        }

    def text(self, text: str, param: str) -> list[int]:
        """Return the ids of a text, after <|endoftext|>."""
        self._fits(text, param)
        return self.language.completed(text)

    def ids(self, ids: list[int], param: str) -> list[int]:
        """Return ids that the sender made, unchanged; refuse those that are not tokens."""
        n_vocab = self.language.tokenizer.n_vocab
        wrong = next((token for token in ids if not 0 <= token < n_vocab), None)
        if wrong is not None:
            message = f"{param}: {wrong} is no token; 0 to {n_vocab - 1} are"
            raise ApiError(400, message, param, "invalid_value")
        return ids

    def conversation(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Return the messages in the assistant's own template; `developer` is another name of
        `system`.

        An answer, or the end, must follow a user's message.
        """
        template = self.language.template
        if template is None:
            raise ApiError(
                400,
                f"model: {self.name} was not taught to answer messages; /v1/completions goes on "
                "with a text",
                "model",
                "not_a_chat_model",
            )
        before = None
        for number, message in enumerate(messages):
            param = f"messages[{number}]"
            self._fits(message.content, param)
            if message.role == "assistant" and before != "user":
                reason = "an answer needs a user's message right before it"
                raise ApiError(400, f"{param}: {reason}", param, "invalid_value")
            before = message.role
        if before != "user":
            reason = "messages: the last one is not the user's"
            raise ApiError(400, reason, "messages", "invalid_value")
        self._fits("".join(message.content for message in messages), "messages")
        said = [{"role": ROLE.get(m.role, m.role), "content": m.content} for m in messages]
        try:
            ids = template.prompt(said, most=self.context)
        except UserError as error:
            reason = f"messages: {error}"
            raise ApiError(400, reason, "messages", "invalid_value") from None
        if len(ids) > self.context:
            what = f"messages: {len(ids)} tokens or more"
            raise too_long(what, self.context, "messages")
        return ids

    def _fits(self, text: str, param: str) -> None:
        """Refuse a text that cannot fit, before the work of encoding it."""
        size = len(text.encode())
        if size > self.context * self._longest:
            raise too_long(f"{param}: {size:,} bytes", self.context, param)


def too_long(what: str, context: int, param: str) -> ApiError:
    """Return the error for what does not fit into the context."""
    message = f"{what} do not fit: this model's maximum context length is {context} tokens"
    return ApiError(400, message, param, "context_length_exceeded")


def opened(names: Sequence[str], dtype: WeightType) -> dict[str, Served]:
    """Return models by name, with weights of this number type. Raises `UserError` for a name that
    is not a language model. Several adapters share one foundation in memory.
    """
    shared: Shared = {}
    return {name: Served(name, language_model(name, dtype, shared)) for name in names}


@dataclass(frozen=True)
class Order:
    """One text: the prompt's ids, how many tokens at most, and how they are chosen."""

    served: Served
    prompt: list[int]
    max_tokens: int
    choice: Choice
    seed: int
    stop: tuple[str, ...]
    echoed: list[int] | None = None  # the end of the prompt that is given back
    top: int | None = None  # likeliest tokens reported with each; None: no log-probabilities at all
    strip: bool = False  # white space before the text is left out


def completion_orders(body: Completion, served: Served, limits: Limits) -> list[Order]:
    """Return an order for each prompt. A prompt that is a text follows <|endoftext|>, which is not
    echoed.
    """
    if len(body.prompt) > limits.waiting:
        message = f"prompt: {len(body.prompt)}, but at most {limits.waiting} are taken at once"
        raise ApiError(400, message, "prompt", "invalid_value")
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


def chat_orders(body: Chat, served: Served, limits: Limits) -> list[Order]:
    """Return the order for the answer to the last message; without a number of tokens, as many as
    fit.
    """
    ids = served.conversation(body.messages)
    name = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
    max_tokens = getattr(body, name) or _as_many_as_fit(served, ids, limits.tokens)
    top = (body.top_logprobs or 0) if body.logprobs else None
    order = _order(body, served, ids, max_tokens, None, top, "messages")
    orders = [replace(order, strip=True)]
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
    """Return an order. `index` within the request: the same prompt twice is two draws, as with
    `generate`.
    """
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
    """Refuse to read or write beyond the limits; `prompts` and `most` name the fields for this."""
    n_read = sum(len(order.prompt) for order in orders)
    n_written = sum(order.max_tokens for order in orders)
    for param, count, limit in ((prompts, n_read, limits.read), (most, n_written, limits.tokens)):
        if count > limit:
            message = f"{param}: {count} tokens in all, but a request may have {limit}"
            raise ApiError(400, message, param, "invalid_value")
