"""Answers in the interface's forms: whole, or as the chunks of a stream."""

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from llmill.serve.orders import Order
from llmill.serve.scores import Score
from llmill.serve.text import Part

DecodeBytes = Callable[[list[int]], bytes]
Scored = Sequence[tuple[int, Score]]


class CompletionReply:
    """Of `/v1/completions`; each prompt is a choice."""

    WHOLE = CHUNK = "text_completion"
    PREFIX = "cmpl"

    def __init__(self, orders: Sequence[Order]):
        self._orders = orders
        self._served = orders[0].served
        self._id = f"{self.PREFIX}-{uuid.uuid4().hex}"
        self._created = int(time.time())

    def whole(self, parts: Sequence[Sequence[Part]]) -> dict[str, Any]:
        """All parts of each choice as one answer."""
        choices = []
        for index, of_choice in enumerate(parts):
            text = "".join(part.text for part in of_choice)
            scores = [pair for part in of_choice for pair in part.scores]
            choices.append(
                {
                    "index": index,
                    **self._content(text),
                    "logprobs": self._logprobs(index, scores),
                    "finish_reason": of_choice[-1].finish,
                }
            )
        counts = [of_choice[-1].written for of_choice in parts]
        return {**self._head(self.WHOLE), "choices": choices, "usage": self.usage(counts)}

    def opening(self) -> list[dict[str, Any]]:
        """What a stream begins with."""
        return []

    def chunk(self, index: int, part: Part) -> list[dict[str, Any]]:
        """A part of a choice."""
        return [self._chunk(index, self._content(part.text), part.scores, part.finish)]

    def closing(self, counts: Sequence[int]) -> dict[str, Any]:
        """The usage, as the chunk behind all others."""
        return {**self._head(self.CHUNK), "choices": [], "usage": self.usage(counts)}

    def usage(self, counts: Sequence[int]) -> dict[str, int]:
        """Tokens read and written, <|endoftext|> among them."""
        n_read, n_written = sum(len(order.prompt) for order in self._orders), sum(counts)
        return {
            "prompt_tokens": n_read,
            "completion_tokens": n_written,
            "total_tokens": n_read + n_written,
        }

    def _chunk(
        self, index: int, content: dict[str, Any], scores: Scored, finish: str | None
    ) -> dict[str, Any]:
        choice = {
            "index": index,
            **content,
            "logprobs": self._logprobs(index, scores),
            "finish_reason": finish,
        }
        return {**self._head(self.CHUNK), "choices": [choice]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._served.name,
        }

    def _content(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def _logprobs(self, index: int, scores: Scored) -> dict[str, Any] | None:
        if self._orders[index].top is None:
            return None
        return {
            "tokens": [as_text(self._bytes(score.token)) for _, score in scores],
            "token_logprobs": [score.logprob for _, score in scores],
            "top_logprobs": [self._likeliest(score) for _, score in scores],
            "text_offset": [start for start, _ in scores],
        }

    def _likeliest(self, score: Score) -> dict[str, float] | None:
        """By their texts, the token itself among them."""
        if score.logprob is None:
            return None
        pairs = {token: logprob for token, logprob in score.likeliest}
        pairs.setdefault(score.token, score.logprob)
        return {as_text(self._bytes(token)): logprob for token, logprob in pairs.items()}

    def _bytes(self, token: int) -> bytes:
        return self._served.language.tokenizer.decode_bytes([token])


class ChatReply(CompletionReply):
    """Of `/v1/chat/completions`; one choice."""

    WHOLE, CHUNK = "chat.completion", "chat.completion.chunk"
    PREFIX = "chatcmpl"

    def opening(self) -> list[dict[str, Any]]:
        delta = {"role": "assistant", "content": "", "refusal": None}
        return [self._chunk(0, {"delta": delta}, (), None)]

    def chunk(self, index: int, part: Part) -> list[dict[str, Any]]:
        chunks = []
        if part.text or part.scores:
            chunks.append(self._chunk(index, {"delta": {"content": part.text}}, part.scores, None))
        if part.finish is not None:
            chunks.append(self._chunk(index, {"delta": {}}, (), part.finish))
        return chunks

    def _content(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text, "refusal": None}}

    def _logprobs(self, index: int, scores: Scored) -> dict[str, Any] | None:
        if self._orders[index].top is None:
            return None
        content = []
        for _, score in scores:
            likeliest = [self._token(token, logprob) for token, logprob in score.likeliest]
            content.append({**self._token(score.token, score.logprob), "top_logprobs": likeliest})
        return {"content": content, "refusal": None}

    def _token(self, token: int, logprob: float | None) -> dict[str, Any]:
        content = self._bytes(token)
        return {"token": as_text(content), "logprob": logprob, "bytes": list(content)}


def as_text(token: bytes) -> str:
    r"""A token as text; one that is no whole text by itself as `bytes:\xc3`."""
    try:
        return token.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token)
