"""The server under crowding: connections without a request, and one request of the largest size.

python benchmarks/crowding.py [--connections 300] [--descriptors 256] [--seconds 90]

First, connections whose headers never end are held open against a server that may have fewer
descriptors than connections. A connection that the server closes is opened again. Meanwhile another
client requests completions. Then one request of 256 prompts as long as the context is scored
(`echo` and `logprobs`), while another client requests 16 tokens again and again. The server is a
separate process on the loopback, with a random model of the world preset's shape. It ends with the
benchmark.
"""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import httpx
import psutil
import typer
from serving import random_checkpoint

PATIENCE = 60.0  # seconds that a client waits for an answer
PROMPTS, TOKENS = 256, 16
HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@contextlib.contextmanager
def served(
    folder: Path, descriptors: int | None
) -> Iterator[tuple[psutil.Process, str, str, Path]]:
    """Run a server; yield its process, its URL, the name of its model, and its log."""
    name = str(random_checkpoint(folder, vocabulary=4096))
    words = [sys.executable, "-m", "llmill", "serve", name, "--port", "0"]
    environment = {k: v for k, v in os.environ.items() if k != "LLMILL_API_KEY"}
    log = folder / "log"

    def limited() -> None:
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    with (
        log.open("wb") as errors,
        subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
            preexec_fn=limited,
        ) as server,
    ):
        try:
            assert server.stdout is not None
            address = re.search(r"(http://\S+)/v1", server.stdout.readline())
            if address is None:
                sys.exit("the server did not start")
            yield psutil.Process(server.pid), address[1], name, log
        finally:
            server.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(30)
            server.kill()


def asking(ask: Callable[[], object], end: Callable[[], bool]) -> tuple[list[float], int]:
    """Send requests one after the other until `end`; return the seconds of each request and the
    number of failed ones.
    """
    took: list[float] = []
    failed = 0
    while not end():
        begun = time.monotonic()
        try:
            ask()
        except httpx.HTTPError:
            failed += 1
        took.append(time.monotonic() - begun)
        time.sleep(0.05)
    return took, failed


def completion(url: str, model: str) -> None:
    """Request 16 tokens over a new connection."""
    asked = {"model": model, "prompt": "One", "max_tokens": TOKENS, "seed": 1}
    httpx.post(f"{url}/v1/completions", json=asked, timeout=PATIENCE).raise_for_status()


def half_open(url: str, count: int, stopped: threading.Event) -> int:
    """Hold `count` connections whose headers never end; return how often one was opened."""
    where = ("127.0.0.1", int(url.rpartition(":")[2]))
    held: list[socket.socket] = []
    opened = 0
    while not stopped.wait(0.02):
        kept = []
        for each in held:
            try:
                gone = each.recv(1) == b""
            except BlockingIOError:
                gone = False
            except OSError:
                gone = True
            if gone:
                each.close()
            else:
                kept.append(each)
        held = kept
        while len(held) < count:
            each = socket.socket()
            each.settimeout(2)
            try:
                each.connect(where)
                each.sendall(HALF)
            except OSError:
                each.close()
                break
            each.setblocking(False)
            held.append(each)
            opened += 1
    for each in held:
        each.close()
    return opened


def crowded(folder: Path, connections: int, descriptors: int, seconds: float) -> None:
    with served(folder, descriptors) as (process, url, model, log):
        end = time.monotonic() + 3
        asking(lambda: completion(url, model), lambda: time.monotonic() > end)
        before, busy = process.memory_info().rss / 2**20, process.cpu_times()
        stopped, counts = threading.Event(), []
        held = threading.Thread(target=lambda: counts.append(half_open(url, connections, stopped)))
        held.start()
        time.sleep(1)
        end = time.monotonic() + seconds
        took, failed = asking(lambda: completion(url, model), lambda: time.monotonic() > end)
        stopped.set()
        held.join()
        now = process.cpu_times()
        after = process.memory_info().rss / 2**20
        size = log.stat().st_size
        cpu = now.user + now.system - busy.user - busy.system
    print(
        f"{connections} half-open connections (opened {counts[0]} times), {descriptors} descriptors"
    )
    print(
        f"{seconds:.0f} s: {len(took) - failed} of {len(took)} answered, slowest {max(took):.2f} s"
    )
    print(f"log: {size:,} bytes; {cpu:.1f} s of CPU time")
    print(f"server: {before:.1f} MiB before, {after:.1f} MiB after")


def beside_a_large_request(folder: Path) -> None:
    with served(folder, None) as (_, url, model, _):
        listed = httpx.get(f"{url}/v1/models").json()["data"]
        context = listed[0]["context"]
        fields = {"model": model, "echo": True, "logprobs": 5, "max_tokens": 0}
        prompt = [[(7 * row + column) % 256 for column in range(context)] for row in range(PROMPTS)]
        completion(url, model)
        alone, _ = asking(lambda: completion(url, model), iter([False] * 9 + [True]).__next__)
        answers: list[tuple[float, int, int]] = []

        def large() -> None:
            begun = time.monotonic()
            asked = {**fields, "prompt": prompt}
            made = httpx.post(
                f"{url}/v1/completions",
                content=json.dumps(asked).encode(),
                headers={"Content-Type": "application/json"},
                timeout=600,
            )
            answers.append((time.monotonic() - begun, made.status_code, len(made.content)))

        asks = threading.Thread(target=large)
        asks.start()
        time.sleep(0.2)
        beside, failed = asking(lambda: completion(url, model), lambda: bool(answers))
        asks.join()
    took, status, size = answers[0]
    print(
        f"{PROMPTS} prompts of {context} tokens, scored: {status} in {took:.1f} s, {size:,} bytes"
    )
    print(
        f"{TOKENS} tokens for a neighbour: {max(alone):.2f} s alone, beside it at most "
        f"{max(beside, default=0):.2f} s ({len(beside)} answers, {failed} failed)"
    )


def main(
    connections: Annotated[int, typer.Option(min=1, help="Half-open connections.")] = 300,
    descriptors: Annotated[int, typer.Option(min=100, help="Descriptors of the server.")] = 256,
    seconds: Annotated[float, typer.Option(min=1, max=600)] = 90,
) -> None:
    """Measure how other clients are served meanwhile, the log, and the memory."""
    with tempfile.TemporaryDirectory() as folder:
        crowded(Path(folder), connections, descriptors, seconds)
    with tempfile.TemporaryDirectory() as folder:
        beside_a_large_request(Path(folder))


if __name__ == "__main__":
    typer.run(main)
