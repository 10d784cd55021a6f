"""A request's texts on their way from the worker's thread to the event loop that answers."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from llmill.serve.orders import Order
from llmill.serve.refusal import Refusal
from llmill.serve.replies import CompletionReply
from llmill.serve.text import Part, Text
from llmill.serve.worker import Worker


class Pending:
    """Begins with letting the texts wait, or raises `Refusal`; whoever has it calls `leave`."""

    def __init__(self, worker: Worker, orders: Sequence[Order]):
        self._worker = worker
        self._parts: asyncio.Queue[tuple[int, Part | Refusal]] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def into(index: int) -> Callable[[Part | Refusal], None]:
            def deliver(part: Part | Refusal) -> None:
                with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits
                    loop.call_soon_threadsafe(self._parts.put_nowait, (index, part))

            return deliver

        self._texts = [Text(order, into(index)) for index, order in enumerate(orders)]
        worker.submit(self._texts)

    async def whole(self) -> list[list[Part]]:
        """All parts of each text."""
        texts: list[list[Part]] = [[] for _ in self._texts]
        async for index, part in self.parts():
            texts[index].append(part)
        return texts

    async def parts(self) -> AsyncIterator[tuple[int, Part]]:
        """Each part with the number of its text, as they come, until all are finished."""
        open_texts = len(self._texts)
        while open_texts:
            index, part = await self._parts.get()
            if isinstance(part, Refusal):
                raise part
            open_texts -= part.finish is not None
            yield index, part

    def leave(self) -> None:
        """Free the places of texts that are not finished."""
        self._worker.leave(self._texts)


async def whole(request: Request, pending: Pending, reply: CompletionReply) -> Response:
    """The answer when it is finished; nothing for a client that goes away before."""
    answered, gone = asyncio.create_task(pending.whole()), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({answered, gone}, return_when=asyncio.FIRST_COMPLETED)
        if answered.done():
            parts = answered.result()  # those of many scored prompts take a second to be told
            return await asyncio.to_thread(lambda: JSONResponse(reply.whole(parts)))
        return nobody()
    finally:
        answered.cancel()
        gone.cancel()
        pending.leave()


def nobody() -> Response:
    """For a client that is not there any more."""
    return Response(status_code=499)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Stream(StreamingResponse):
    """The answer as it is written, as server-sent events; a client that goes away frees its
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
            async for index, part in self._pending.parts():
                counts[index] = part.written
                for chunk in self._reply.chunk(index, part):
                    yield event(chunk | also)
        except Refusal as refusal:
            yield event(refusal.body())
            return
        if self._with_usage:
            yield event(self._reply.closing(list(counts.values())))
        yield "data: [DONE]\n\n"


def event(value: dict[str, Any]) -> str:
    """A server-sent event, in ASCII: some clients break lines at more than line feeds."""
    return f"data: {json.dumps(value)}\n\n"
