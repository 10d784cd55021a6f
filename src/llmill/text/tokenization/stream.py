"""A text that arrives token by token, and the part of it that may already be shown.

Bytes that do not make a whole character yet are held back, and so is everything that may begin a
stop string. The stop string that is complete first ends the text; of several, the longest. Neither
the stop string nor the text after it is shown.
"""

import codecs
from collections.abc import Callable, Sequence


class TextStream:
    """Takes token ids and returns pieces of text, together the text up to a stop string."""

    def __init__(
        self,
        decode_bytes: Callable[[list[int]], bytes],
        stop: Sequence[str] = (),
        strip: bool = False,
    ):
        """`decode_bytes` returns the bytes of ids. With `strip`, the text begins with its first
        character that is not white space. Raises `ValueError` for an empty stop string.
        """
        if not all(stop):
            raise ValueError("a stop string must not be empty")
        self._decode_bytes, self._stop = decode_bytes, tuple(stop)
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._strips = strip
        self.shown = 0  # characters returned
        self.stopped = False

    @property
    def whole(self) -> int:
        """Characters that are complete, shown or held back: where the next token's text begins."""
        return self.shown + len(self._held)

    def push(self, token: int) -> str:
        """Add a token and return what may now be shown: nothing after a stop string."""
        return self._grown(self._characters.decode(self._decode_bytes([token])))

    def close(self) -> str:
        """Return the rest, when no more tokens come."""
        piece = self._grown(self._characters.decode(b"", final=True))
        rest, self._held = self._held, ""
        self.shown += len(rest)
        return piece + rest

    def _grown(self, text: str) -> str:
        if self.stopped:
            return ""
        if self._strips:
            text = text.lstrip()
            self._strips = not text
        self._held += text
        ends = [(at + len(stop), at) for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if ends:
            self.stopped = True
            piece, self._held = self._held[: min(ends)[1]], ""
        else:
            cut = len(self._held) - self._possible_beginning()
            piece, self._held = self._held[:cut], self._held[cut:]
        self.shown += len(piece)
        return piece

    def _possible_beginning(self) -> int:
        """Return the length of the longest end of the held text that begins a stop string."""
        longest = max(map(len, self._stop), default=0) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            end = self._held[-length:]
            if any(stop.startswith(end) for stop in self._stop):
                return length
        return 0
