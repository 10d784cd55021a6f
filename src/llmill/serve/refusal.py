"""What the server refuses, in the interface's form: `{"error": {message, type, param, code}}`."""

from typing import Any

UNAUTHORIZED, NOT_FOUND, TIMEOUT, TOO_LARGE, MEDIA_TYPE, BUSY = 401, 404, 408, 413, 415, 429
BROKEN, STOPPING = 500, 503


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
