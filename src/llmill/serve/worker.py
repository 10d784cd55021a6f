"""One thread owns the models and writes all texts together. Texts join and leave between steps, in
turns: one text of each request is taken, then the next of each.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from llmill.model.generate import Writer
from llmill.serve.errors import BUSY, STOPPING, ApiError, broken
from llmill.serve.limits import Limits
from llmill.serve.served import Served
from llmill.serve.text import Text

JOINING = 256  # tokens read in one step, including padding
LOG = logging.getLogger(__name__)


@dataclass(eq=False)
class Request:
    """The texts of one request, and those of them that wait, in order."""

    texts: frozenset[Text]
    waiting: deque[Text]


class Turns:
    """Requests with texts that wait; the request whose turn it is comes first."""

    def __init__(self) -> None:
        self._requests: deque[Request] = deque()

    def __len__(self) -> int:
        return sum(len(request.waiting) for request in self._requests)

    def __iter__(self) -> Iterator[Text]:
        return (text for request in self._requests for text in request.waiting)

    def add(self, texts: Sequence[Text]) -> None:
        """Add a request's texts, after the turn of all others."""
        self._requests.append(Request(frozenset(texts), deque(texts)))

    def leave(self, left: Iterable[Text]) -> None:
        """Remove these from the texts that wait."""
        gone = set(left)
        for request in self._requests:
            request.waiting = deque(text for text in request.waiting if text not in gone)
        self._requests = deque(request for request in self._requests if request.waiting)

    def next_texts(self, places: int, running: Iterable[Text], most: int) -> list[Text]:
        """Return the texts that continue, in turns: as many as read `most` tokens, including
        padding, or one. Each stays among the waiting texts until it leaves them.

        `running` already have one of the places. A request gets another as long as it has fewer
        than are free, so that the next request finds one. Of a request's texts that are read in
        slices, one continues.
        """
        having, chosen = list(running), list[Text]()
        width = rows = sliced = 0
        passed = 0
        while passed < len(self._requests):
            request = self._requests[0]
            text = _next(request, chosen, having, places)
            if text is not None:
                wider, longer = max(width, text.joins), rows + (text.joins > 0)
                if chosen and wider * longer + sliced + text.reads > most:
                    break
                width, rows, sliced = wider, longer, sliced + text.reads
                chosen.append(text)
                if not text.half_read:
                    having.append(text)
                passed = -1
            passed += 1
            self._requests.rotate(-1)
        return chosen


def _next(
    request: Request, chosen: Sequence[Text], having: Sequence[Text], places: int
) -> Text | None:
    """Return the text of this request that continues, if there is one and a place for it."""
    text = next((text for text in request.waiting if text not in chosen), None)
    if text is None or any(each.reads and each in request.texts for each in chosen):
        return None
    if text.half_read:
        return text
    free = places - len(having)
    if free <= 0:
        return None
    own = sum(each in request.texts for each in having)
    return text if own == 0 or own < free else None


class Worker:
    """Texts wait until there is room; then every step gives each its next token."""

    def __init__(self, served: Iterable[Served], limits: Limits):
        self._writers = {each.name: Writer(each.language.model) for each in served}
        self._open: dict[str, dict[int, Text]] = {name: {} for name in self._writers}
        self._limits = limits
        self._changed = threading.Condition()  # for the attributes below
        self._waiting = Turns()
        self._left: set[Text] = set()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    @property
    def open(self) -> int:
        """Number of texts that are being written or wait."""
        with self._changed:
            return self._count()

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """End after the present step; unfinished texts are refused."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def submit(self, texts: Sequence[Text]) -> None:
        """Let all of these texts wait, or raise `ApiError` and let none wait."""
        with self._changed:
            if self._stopping:
                raise _stopped()
            if self._count() + len(texts) > self._limits.batch + self._limits.waiting:
                message = "too many texts are waiting; try again in a moment"
                raise ApiError(BUSY, message, code="rate_limit_exceeded")
            self._waiting.add(texts)
            self._changed.notify()

    def leave(self, texts: Iterable[Text]) -> None:
        """Note that nobody waits for these texts any more; this does not affect finished ones."""
        with self._changed:
            self._left.update(texts)
            self._waiting.leave(self._left)
            self._changed.notify()

    def _count(self) -> int:
        return len(self._waiting) + sum(map(len, self._open.values()))

    def _run(self) -> None:
        while (going_on := self._going_on()) is not None:
            for text in going_on:
                self._go_on(text)
            for name, texts in self._open.items():
                if texts:
                    self._step(name, texts)
        for text in [*self._waiting, *(t for texts in self._open.values() for t in texts.values())]:
            text.deliver(_stopped())

    def _going_on(self) -> list[Text] | None:
        """Return the waiting texts that continue at this step, without those that left; wait while
        there are none.
        """
        with self._changed:
            self._let_go()
            while not self._stopping and not self._count():
                self._changed.wait()
                self._let_go()
            if self._stopping:
                return None
            running = [text for texts in self._open.values() for text in texts.values()]
            running += [text for text in self._waiting if text.half_read]
            return self._waiting.next_texts(self._limits.batch, running, JOINING)

    def _let_go(self) -> None:
        for name, texts in self._open.items():
            for number in [number for number, text in texts.items() if text in self._left]:
                self._writers[name].end(number)
                del texts[number]
        self._left.clear()

    def _go_on(self, text: Text) -> None:
        """Read a slice of its prompt, or the rest of it; then it no longer waits."""
        name, number = text.order.served.name, None
        writer = self._writers[name]
        try:
            if text.reads:
                text.read(writer.packed)
            if text.reads:
                return
            number = text.begin(writer)
        except Exception:
            LOG.exception("a text of %s could not begin", name)
            text.deliver(broken())
        with self._changed:
            self._waiting.leave([text])
            if number is not None:
                self._open[name][number] = text

    def _step(self, name: str, texts: dict[int, Text]) -> None:
        writer = self._writers[name]
        try:
            for number, sample in writer.step().items():
                if texts[number].take(sample):
                    writer.end(number)
                    del texts[number]
        except Exception:
            LOG.exception("a step of %s failed", name)
            for number, text in texts.items():
                writer.end(number)
                text.deliver(broken())
            texts.clear()


def _stopped() -> ApiError:
    return ApiError(STOPPING, "the server is stopping", code="stopping")
