"""Errors, of requests beyond the limits or for things that do not exist, in the interface's form:
`{"error": {message, type, param, code}}`.
"""

from typing import Any

UNAUTHORIZED, NOT_FOUND, TIMEOUT, TOO_LARGE, MEDIA_TYPE, BUSY = 401, 404, 408, 413, 415, 429
BROKEN, STOPPING = 500, 503


class ApiError(Exception):
    """A request that is not answered, and why: status, one line, and the field concerned."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None
    ):
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the status requires."""
        if self.status in (BUSY, STOPPING):
            return {"Retry-After": "1"}  # seconds
        return {"WWW-Authenticate": "Bearer"} if self.status == UNAUTHORIZED else {}

    def body(self) -> dict[str, Any]:
        """Return the error in the interface's form."""
        kind = "invalid_request_error"
        if self.status >= 500:
            kind = "server_error"
        elif self.status == BUSY:
            kind = "rate_limit_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}


def broken() -> ApiError:
    """Return the error for the server's own mistake, whose traceback it keeps to itself."""
    return ApiError(BROKEN, "the server failed; its log says how", code="server_error")
