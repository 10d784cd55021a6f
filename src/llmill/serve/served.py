"""A model as it is served: its name, and what it reads of a prompt or of a conversation."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from llmill.contract.errors import UserError
from llmill.contract.values import Dtype
from llmill.models import LanguageModel, language_model
from llmill.serve.refusal import Refusal
from llmill.serve.requests import ChatMessage

ROLE = {"developer": "system"}


@dataclass(frozen=True)
class Served:
    """A language model under a name."""

    name: str
    language: LanguageModel
    created: int = field(default_factory=lambda: int(time.time()))  # seconds since 1970

    @property
    def context(self) -> int:
        """Tokens that it can read, its own among them."""
        return self.language.model.config.block_size

    @cached_property
    def _longest(self) -> int:
        """Bytes of the longest token."""
        return max(map(len, self.language.tokenizer.ranks))

    def card(self) -> dict[str, Any]:
        """What `/v1/models` says of it; `context` and `chat` are our own."""
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "llmill",
            "context": self.context,
            "chat": self.language.assistant,
        }

    def text(self, text: str, param: str) -> list[int]:
        """Ids of a text behind <|endoftext|>."""
        self._fits(text, param)
        return self.language.completed(text)

    def ids(self, ids: list[int], param: str) -> list[int]:
        """Ids that the sender made, as they are."""
        n_vocab = self.language.tokenizer.n_vocab
        wrong = next((token for token in ids if not 0 <= token < n_vocab), None)
        if wrong is not None:
            message = f"{param}: {wrong} is no token; 0 to {n_vocab - 1} are"
            raise Refusal(400, message, param, "invalid_value")
        return ids

    def conversation(self, messages: Sequence[ChatMessage]) -> list[int]:
        """The messages in the assistant's own template; `developer` is another name of `system`.

        An answer, or the end, follows a text of the user's.
        """
        template = self.language.template
        if template is None:
            raise Refusal(
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
                raise Refusal(400, f"{param}: {reason}", param, "invalid_value")
            before = message.role
        if before != "user":
            reason = "messages: the last one is not the user's"
            raise Refusal(400, reason, "messages", "invalid_value")
        self._fits("".join(message.content for message in messages), "messages")
        said = [{"role": ROLE.get(m.role, m.role), "content": m.content} for m in messages]
        try:
            ids = template.prompt(said, most=self.context)
        except UserError as error:
            reason = f"messages: {error}"
            raise Refusal(400, reason, "messages", "invalid_value") from None
        if len(ids) > self.context:
            what = f"messages: {len(ids)} tokens or more"
            raise too_long(what, self.context, "messages")
        return ids

    def _fits(self, text: str, param: str) -> None:
        """Refuse, before the work of encoding it, a text that cannot fit."""
        size = len(text.encode())
        if size > self.context * self._longest:
            raise too_long(f"{param}: {size:,} bytes", self.context, param)


def too_long(what: str, context: int, param: str) -> Refusal:
    """What does not fit into the context."""
    message = f"{what} do not fit: this model's maximum context length is {context} tokens"
    return Refusal(400, message, param, "context_length_exceeded")


def opened(names: Sequence[str], dtype: Dtype) -> dict[str, Served]:
    """Models by name, with weights of this number type; raises `UserError` for what is no language
    model.
    """
    return {name: Served(name, language_model(name, dtype)) for name in names}
