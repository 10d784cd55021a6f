"""What the server refuses, beyond its limits or not there at all, in the interface's form:
`{"error": {message, type, param, code}}`.
"""

from dataclasses import dataclass
from typing import Any

UNAUTHORIZED, NOT_FOUND, TIMEOUT, TOO_LARGE, MEDIA_TYPE, BUSY = 401, 404, 408, 413, 415, 429
BROKEN, STOPPING = 500, 503


@dataclass(frozen=True)
class Limits:
    """Of texts, tokens, bytes and connections; each prompt of a request is a text of its own."""

    batch: int = 64  # texts that go on together
    waiting: int = 256  # texts beyond these
    tokens: int = 8192  # that one request may have written, over all its prompts
    read: int = 65536  # tokens of its prompts
    body: int = 1 << 20  # bytes of a request
    connections: int = 1024  # open at once


class Refusal(Exception):
    """A request that is not answered, and why: status, one line, and what it was about."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None
    ):
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    @property
    def headers(self) -> dict[str, str]:
        """What the status asks for beside the body."""
        if self.status in (BUSY, STOPPING):
            return {"Retry-After": "1"}  # seconds
        return {"WWW-Authenticate": "Bearer"} if self.status == UNAUTHORIZED else {}

    def body(self) -> dict[str, Any]:
        """The interface's form of it."""
        kind = "invalid_request_error"
        if self.status >= 500:
            kind = "server_error"
        elif self.status == BUSY:
            kind = "rate_limit_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}


def broken() -> Refusal:
    """For what is the server's own mistake, whose traceback it keeps to itself."""
    return Refusal(BROKEN, "the server failed; its log says how", code="server_error")
