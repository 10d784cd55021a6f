"""Answers in the interface's forms, whole or as the chunks of a stream, sent as the worker's thread
writes them.
"""

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from llmill.serve.errors import ApiError
from llmill.serve.served import Order
from llmill.serve.text import Score, Text, TextDelta
from llmill.serve.worker import Worker

TokenScores = Sequence[tuple[int, Score]]


class CompletionReply:
    """Reply of `/v1/completions`; each prompt is a choice."""

    WHOLE = CHUNK = "text_completion"
    PREFIX = "cmpl"

    def __init__(self, orders: Sequence[Order]):
        self._orders = orders
        self._served = orders[0].served
        self._id = f"{self.PREFIX}-{uuid.uuid4().hex}"
        self._created = int(time.time())

    def whole(self, deltas: Sequence[Sequence[TextDelta]]) -> dict[str, Any]:
        """Return all deltas of each choice as one answer."""
        choices = []
        for index, of_choice in enumerate(deltas):
            text = "".join(delta.text for delta in of_choice)
            scores = [pair for delta in of_choice for pair in delta.scores]
            choices.append(
                {
                    "index": index,
                    **self._content(text),
                    "logprobs": self._logprobs(index, scores),
                    "finish_reason": of_choice[-1].finish,
                }
            )
        counts = [of_choice[-1].written for of_choice in deltas]
        return {**self._head(self.WHOLE), "choices": choices, "usage": self.usage(counts)}

    def opening(self) -> list[dict[str, Any]]:
        """Return the chunks that a stream begins with."""
        return []

    def chunk(self, index: int, delta: TextDelta) -> list[dict[str, Any]]:
        """Return the chunks for a delta of a choice."""
        return [self._chunk(index, self._content(delta.text), delta.scores, delta.finish)]

    def closing(self, counts: Sequence[int]) -> dict[str, Any]:
        """Return the usage, as the chunk after all others."""
        return {**self._head(self.CHUNK), "choices": [], "usage": self.usage(counts)}

    def usage(self, counts: Sequence[int]) -> dict[str, int]:
        """Return the tokens read and written, including <|endoftext|>."""
        n_read, n_written = sum(len(order.prompt) for order in self._orders), sum(counts)
        return {
            "prompt_tokens": n_read,
            "completion_tokens": n_written,
            "total_tokens": n_read + n_written,
        }

    def _chunk(
        self, index: int, content: dict[str, Any], scores: TokenScores, finish: str | None
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

    def _logprobs(self, index: int, scores: TokenScores) -> dict[str, Any] | None:
        if self._orders[index].top is None:
            return None
        return {
            "tokens": [as_text(self._bytes(score.token)) for _, score in scores],
            "token_logprobs": [score.logprob for _, score in scores],
            "top_logprobs": [self._likeliest(score) for _, score in scores],
            "text_offset": [start for start, _ in scores],
        }

    def _likeliest(self, score: Score) -> dict[str, float] | None:
        """Return log-probabilities by the tokens' texts, including the token itself."""
        if score.logprob is None:
            return None
        pairs = {token: logprob for token, logprob in score.likeliest}
        pairs.setdefault(score.token, score.logprob)
        return {as_text(self._bytes(token)): logprob for token, logprob in pairs.items()}

    def _bytes(self, token: int) -> bytes:
        return self._served.language.tokenizer.decode_bytes([token])


class ChatReply(CompletionReply):
    """Reply of `/v1/chat/completions`, with one choice."""

    WHOLE, CHUNK = "chat.completion", "chat.completion.chunk"
    PREFIX = "chatcmpl"

    def opening(self) -> list[dict[str, Any]]:
        delta = {"role": "assistant", "content": "", "refusal": None}
        return [self._chunk(0, {"delta": delta}, (), None)]

    def chunk(self, index: int, delta: TextDelta) -> list[dict[str, Any]]:
        chunks = []
        if delta.text or delta.scores:
            chunks.append(
                self._chunk(index, {"delta": {"content": delta.text}}, delta.scores, None)
            )
        if delta.finish is not None:
            chunks.append(self._chunk(index, {"delta": {}}, (), delta.finish))
        return chunks

    def _content(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text, "refusal": None}}

    def _logprobs(self, index: int, scores: TokenScores) -> dict[str, Any] | None:
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
    r"""Return a token as text, or as `bytes:\xc3` if it is not whole text by itself."""
    try:
        return token.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token)


class Pending:
    """Texts that wait from the start, or raise `ApiError`; the holder calls `leave`."""

    def __init__(self, worker: Worker, orders: Sequence[Order]):
        self._worker = worker
        self._deltas: asyncio.Queue[tuple[int, TextDelta | ApiError]] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def into(index: int) -> Callable[[TextDelta | ApiError], None]:
            def deliver(delta: TextDelta | ApiError) -> None:
                with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits
                    loop.call_soon_threadsafe(self._deltas.put_nowait, (index, delta))

            return deliver

        self._texts = [Text(order, into(index)) for index, order in enumerate(orders)]
        worker.submit(self._texts)

    async def whole(self) -> list[list[TextDelta]]:
        """Return all deltas of each text."""
        texts: list[list[TextDelta]] = [[] for _ in self._texts]
        async for index, delta in self.deltas():
            texts[index].append(delta)
        return texts

    async def deltas(self) -> AsyncIterator[tuple[int, TextDelta]]:
        """Yield each delta with the number of its text, as they come, until all are finished."""
        open_texts = len(self._texts)
        while open_texts:
            index, delta = await self._deltas.get()
            if isinstance(delta, ApiError):
                raise delta
            open_texts -= delta.finish is not None
            yield index, delta

    def leave(self) -> None:
        """Free the places of texts that are not finished."""
        self._worker.leave(self._texts)


async def whole(request: Request, pending: Pending, reply: CompletionReply) -> Response:
    """Return the answer when it is finished; nothing for a client that disconnects before."""
    answered, gone = asyncio.create_task(pending.whole()), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({answered, gone}, return_when=asyncio.FIRST_COMPLETED)
        if answered.done():
            deltas = answered.result()  # many scored prompts take a second as JSON
            return await asyncio.to_thread(lambda: JSONResponse(reply.whole(deltas)))
        return nobody()
    finally:
        answered.cancel()
        gone.cancel()
        pending.leave()


def nobody() -> Response:
    """Return a response for a client that has disconnected."""
    return Response(status_code=499)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Stream(StreamingResponse):
    """The answer as it is written, as server-sent events; a client that disconnects frees its
    places.
    """

    def __init__(self, pending: Pending, reply: CompletionReply, with_usage: bool):
        self._pending, self._reply, self._with_usage = pending, reply, with_usage
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(self._events(), media_type="text/event-stream", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._pending.leave()

    async def _events(self) -> AsyncIterator[str]:
        also = {"usage": None} if self._with_usage else {}
        counts: dict[int, int] = {}
        try:
            for chunk in self._reply.opening():
                yield event(chunk | also)
            async for index, delta in self._pending.deltas():
                counts[index] = delta.written
                for chunk in self._reply.chunk(index, delta):
                    yield event(chunk | also)
        except ApiError as error:
            yield event(error.body())
            return
        if self._with_usage:
            yield event(self._reply.closing(list(counts.values())))
        yield "data: [DONE]\n\n"


def event(value: dict[str, Any]) -> str:
    """Return a server-sent event, in ASCII: some clients break lines at more than line feeds."""
    return f"data: {json.dumps(value)}\n\n"
