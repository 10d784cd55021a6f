"""A loopback HTTP server whose answers a test plans, one for each request; without, it behaves."""

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

Answer = Callable[["Handler", bytes], None]


class Server(ThreadingHTTPServer):
    """Holds `files` by path, the `plan` of answers still to give by path, and what was `asked`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.plan: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str | None]] = []  # path and Range
        self.conditions: list[str | None] = []  # If-Range
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        path = unquote(self.path).removeprefix("/")
        self.server.asked.append((path, self.headers["Range"]))
        self.server.conditions.append(self.headers["If-Range"])
        planned = self.server.plan.get(path)
        answer = planned.pop(0) if planned else behave
        if path in self.server.files:
            answer(self, self.server.files[path])
        else:
            status(404)(self, b"")

    def reply(self, code: int, headers: dict[str, str], body: bytes, announce: int | None = None):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if announce is None else announce))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.close_connection = announce is not None

    def log_message(self, *words) -> None:
        """Keep quiet."""


def tag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:8]}"'


def behave(handler: Handler, body: bytes) -> None:
    """What a right server does, ranges and conditions included."""
    asked, condition = handler.headers["Range"], handler.headers["If-Range"]
    if asked and condition in (None, tag(body)):
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            handler.reply(416, {"Content-Range": f"bytes */{len(body)}"}, b"")
            return
        where = f"bytes {start}-{len(body) - 1}/{len(body)}"
        handler.reply(206, {"Content-Range": where, "ETag": tag(body)}, body[start:])
    else:
        handler.reply(200, {"ETag": tag(body)}, body)


def cut(length: int, **headers: str) -> Answer:
    """Announce everything, send `length` bytes, close."""

    def answer(handler: Handler, body: bytes) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.reply(200, named or {"ETag": tag(body)}, body[:length], announce=len(body))

    return answer


def stall(length: int) -> Answer:
    """Announce everything, send `length` bytes, then nothing until the test is over."""

    def answer(handler: Handler, body: bytes) -> None:
        handler.reply(200, {"ETag": tag(body)}, body[:length], announce=len(body))
        handler.server.released.wait()

    return answer


def endless(handler: Handler, body: bytes) -> None:
    """The same bytes over and over, with no length announced, until nobody listens."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    with contextlib.suppress(ConnectionError):
        while not handler.server.released.is_set():
            handler.wfile.write(body)


def ignore_range(handler: Handler, body: bytes) -> None:
    handler.reply(200, {"ETag": tag(body)}, body)


def shifted_range(handler: Handler, body: bytes) -> None:
    """A 206 that begins at another byte than the one asked for."""
    handler.reply(206, {"Content-Range": f"bytes 1-{len(body) - 1}/{len(body)}"}, body[1:])


def lying_range(handler: Handler, body: bytes) -> None:
    """A 206 that says the right bytes and sends others."""
    start = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    where = f"bytes {start}-{len(body) - 1}/{len(body)}"
    handler.reply(206, {"Content-Range": where}, bytes(len(body) - start))


def other(content: bytes, **headers: str) -> Answer:
    """Another content than the file's."""
    return lambda handler, body: handler.reply(
        200, {name.replace("_", "-"): value for name, value in headers.items()}, content
    )


def status(code: int, **headers: str) -> Answer:
    return lambda handler, body: handler.reply(
        code, {name.replace("_", "-"): value for name, value in headers.items()}, b""
    )
