"""A loopback server with the OpenAI interface whose replies and faults a test plans; what was asked
is kept, and counted by content.
"""

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from llmill.evaluation.judging.settings import JudgeServer

KEY = "LLMILL_TEST_KEY"
HANG, CRASH = (0, "hang"), (0, "crash")  # in the place of an answer: none comes, or half of one
Answer = tuple[int, str] | tuple[int, str, dict[str, str]]  # status, body, headers


def settings(url: str, **changes: Any) -> JudgeServer:
    """A server that is asked one thing at a time, without pauses that matter."""
    values: dict[str, Any] = {
        "base_url": url, "model": "judge", "key_variable": KEY, "prompt": "score-1", "samples": 1,
        "temperature": 0.0, "seed": 7, "max_tokens": 64, "concurrency": 1, "retries": 2,
        "timeout": 60.0, "price": {"input": None, "output": None},
        "budget": {"tokens": None, "cost": None},
    }  # fmt: skip
    return JudgeServer(**{**values, **changes})


class Server(ThreadingHTTPServer):
    """Gives each of `plan` once, then `reply` for ever; `fault`, if it gives one for a request and
    the number of times that this was asked before, goes before both.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan: list[Answer] = []
        self.fault: Callable[[dict[str, Any], int], Answer | None] = lambda request, before: None
        self.reply: Any = "50"
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.times: Counter[str] = Counter()  # by content
        self.noting = threading.Lock()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = json.dumps(request, sort_keys=True)
        with self.server.noting:
            self.server.asked.append(request)
            self.server.paths.append(self.path)
            self.server.keys.append(self.headers["Authorization"])
            before = self.server.times[content]
            self.server.times[content] += 1
        answer = self.server.fault(request, before)
        if answer is None:
            reply = self.server.reply
            text = reply(request) if callable(reply) else reply
            with self.server.noting:
                answer = self.server.plan.pop(0) if self.server.plan else (200, chat(text))
        self.send(answer)

    def send(self, answer: Answer) -> None:
        """Also none at all, or half of one."""
        status, body, *headers = answer
        content = body.encode()
        if answer == HANG:
            self.server.closing.wait(30)
        else:
            self.send_response(status or 200)
            self.send_header("Content-Length", str(len(content) + (answer == CRASH)))
            for name, value in (headers[0] if headers else {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        self.close_connection = answer in (HANG, CRASH)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


def chat(text: Any, finish: str = "stop", usage: Any = None) -> str:
    """A completion whose message is `text`; `usage`: its tokens, read and written."""
    message = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    counts = dict(zip(("prompt_tokens", "completion_tokens"), usage or (), strict=False))
    return json.dumps({"choices": [message], **({"usage": counts} if usage else {})})


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
