"""One thread owns the models and writes all texts together: they join and leave between steps."""

import logging
import threading
from collections.abc import Iterable, Sequence

from llmill.model.generate import Writer
from llmill.serve.limits import Limits
from llmill.serve.refusal import BUSY, STOPPING, Refusal, broken
from llmill.serve.served import Served
from llmill.serve.text import Text
from llmill.serve.turns import Turns

JOINING = 256  # tokens that are read at one step, padding among them
LOG = logging.getLogger(__name__)


class Worker:
    """Texts wait until there is room, then every step gives each its next token."""

    def __init__(self, served: Iterable[Served], limits: Limits):
        self._writers = {each.name: Writer(each.language.model) for each in served}
        self._open: dict[str, dict[int, Text]] = {name: {} for name in self._writers}
        self._limits = limits
        self._changed = threading.Condition()  # of what is below
        self._waiting = Turns()
        self._left: set[Text] = set()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    @property
    def open(self) -> int:
        """Texts that are being written or wait."""
        with self._changed:
            return self._count()

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step that is going on; what is not finished is refused."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def submit(self, texts: Sequence[Text]) -> None:
        """Let all of these wait, or raise `Refusal` and none."""
        with self._changed:
            if self._stopping:
                raise _stopped()
            if self._count() + len(texts) > self._limits.batch + self._limits.waiting:
                message = "too many texts are waiting; try again in a moment"
                raise Refusal(BUSY, message, code="rate_limit_exceeded")
            self._waiting.add(texts)
            self._changed.notify()

    def leave(self, texts: Iterable[Text]) -> None:
        """Nobody waits for these any more; of no effect on one that is finished."""
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
        """Who of those that wait goes on at this step, without those who left; waits while nobody
        is there.
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
        """Read a slice of its prompt, or what is left of it; then it waits no more."""
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


def _stopped() -> Refusal:
    return Refusal(STOPPING, "the server is stopping", code="stopping")
