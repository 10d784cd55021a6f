"""Texts that wait, in turns: each request has one taken, then each its next."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from llmill.serve.text import Text


@dataclass(eq=False)
class Request:
    """The texts of one request, and those of them that wait, in their order."""

    texts: frozenset[Text]
    waiting: deque[Text]


class Turns:
    """Requests with texts that wait; whose turn it is comes first."""

    def __init__(self) -> None:
        self._requests: deque[Request] = deque()

    def __len__(self) -> int:
        return sum(len(request.waiting) for request in self._requests)

    def __iter__(self) -> Iterator[Text]:
        return (text for request in self._requests for text in request.waiting)

    def add(self, texts: Sequence[Text]) -> None:
        """A request's texts, behind all others' turn."""
        self._requests.append(Request(frozenset(texts), deque(texts)))

    def leave(self, left: Iterable[Text]) -> None:
        """These wait no more."""
        gone = set(left)
        for request in self._requests:
            request.waiting = deque(text for text in request.waiting if text not in gone)
        self._requests = deque(request for request in self._requests if request.waiting)

    def next_texts(self, places: int, running: Iterable[Text], most: int) -> list[Text]:
        """Who goes on, in turns: as many as read `most` tokens, padding among them, or one. Each is
        among those that wait until it leaves them.

        `running` have one of the places already. A request gets another as long as it has fewer
        than are free, so that who comes next finds one. Of a request's texts that are read in
        slices one goes on.
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
    """The text of this request that goes on, if there is one and a place for it."""
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
