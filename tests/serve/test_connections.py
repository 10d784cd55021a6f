"""Connections: those that ask nothing are let go, and do not keep others out."""

import contextlib
import http.client
import json
import os
import re
import resource
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from llmill.contract.errors import UserError
from llmill.model import checkpoint
from llmill.serve import connections
from llmill.serve.limits import Limits
from tests.conftest import ROOT
from tests.serve.served import TOKENIZER, decoder, random_models, serving
from tests.waiting import until

MODELS = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
ASKED = {"model": "pretrain", "prompt": "One", "max_tokens": 3}


def connected(port: int, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(sent)
    return connection


def told(connection: socket.socket) -> bytes:
    """All that comes until the other side ends the connection."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            found += piece
    return found


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (b"", []),
        (MODELS, []),
        (MODELS + b"\r\n" + MODELS, [b"200"]),
        (POST, [b"415"]),  # the body does not come, and is not waited for
    ],
)
@pytest.mark.parametrize("trickling", [False, True])
def test_a_connection_without_a_whole_request_is_ended(monkeypatch, sent, answers, trickling):
    monkeypatch.setattr(connections, "HEADERS", 0.3)
    here, take = threading.Event(), connections.Door._take

    def take_once_sent(door) -> None:
        assert here.wait(30)
        take(door)

    monkeypatch.setattr(connections.Door, "_take", take_once_sent)
    with serving(random_models()) as server, connected(server.port, sent) as connection:
        here.set()
        ended = threading.Event()

        def trickle() -> None:
            while trickling and not ended.wait(0.02):
                with contextlib.suppress(OSError):
                    connection.sendall(b"x")

        with ThreadPoolExecutor(1) as pool:
            pool.submit(trickle)
            try:
                assert re.findall(rb"^HTTP/1.1 (\d+)", told(connection), re.M) == answers
            finally:
                ended.set()


def test_a_connection_between_two_requests_is_kept_longer(monkeypatch):
    """Longer than one may take to send a request in."""
    monkeypatch.setattr(connections, "HEADERS", 1.0)
    with serving(random_models()) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        ours = []
        for pause in (1.5, 0):
            connection.request("GET", "/v1/models")
            assert connection.getresponse().read()
            ours.append(connection.sock.getsockname())
            threading.Event().wait(pause)
        assert ours[0] == ours[1]
        connection.close()


def test_a_client_that_does_not_read_its_answer_is_let_go(monkeypatch):
    monkeypatch.setattr(connections, "UNREAD", 0.3)
    taken, made = [], connections.Connection.connection_made

    def noted(connection, transport) -> None:
        made(connection, transport)
        taken.append(connection)

    monkeypatch.setattr(connections.Connection, "connection_made", noted)
    fields = {"prompt": [[65] * 500] * 4, "max_tokens": 0, "echo": True, "logprobs": 5}
    body = json.dumps({**ASKED, **fields}).encode()
    head = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    with serving(random_models()) as server, socket.socket() as connection:
        server.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n" + head + body)
        until(lambda: len(taken) == 1)
        until(lambda: server.open_connections() == 0)
        answer, _, rest = told(connection).partition(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        assert len(rest) < int(re.search(rb"content-length: (\d+)", answer)[1])


def test_the_connection_that_waited_longest_makes_room(caplog):
    with serving(random_models(), Limits(connections=3)) as server:
        held = [connected(server.port, MODELS) for _ in range(3)]
        until(lambda: server.open_connections() == 3)
        with connected(server.port, MODELS + b"Connection: close\r\n\r\n") as asking:
            assert told(asking).startswith(b"HTTP/1.1 200")
        assert told(held[0]) == b""
        for each in held[1:]:
            each.sendall(b"Connection: close\r\n\r\n")
            assert told(each).startswith(b"HTTP/1.1 200")
        for each in held:
            each.close()
    (record,) = caplog.records
    assert record.getMessage().startswith("llmill: all 3 connections are taken; ")


def test_who_comes_while_every_connection_is_being_answered_waits(gate, caplog):
    with (
        serving(random_models(), Limits(connections=2)) as server,
        ThreadPoolExecutor(4) as pool,
    ):
        early = [pool.submit(server.post, "completions", **ASKED) for _ in range(2)]
        until(lambda: server.worker.open == 2)
        late = [pool.submit(httpx.get, f"{server.url}/v1/models", timeout=60) for _ in range(2)]
        until(lambda: caplog.records)
        assert not any(each.done() for each in late)
        gate.set()
        assert [each.result().status_code for each in early + late] == [200] * 4
    assert [r.getMessage().partition(";")[0] for r in caplog.records] == [
        "llmill: all 2 connections are taken"
    ]


def test_a_process_without_a_free_descriptor_says_so_once_and_goes_on(monkeypatch, caplog):
    monkeypatch.setattr(connections, "AGAIN", 0.01)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serving(random_models()) as server, socket.socket() as connection:
        with socket.socket() as next_free:
            descriptor = next_free.fileno()
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptor, limits[1]))
            connection.settimeout(20)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(MODELS + b"Connection: close\r\n\r\n")
            until(lambda: caplog.records)
            threading.Event().wait(0.3)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert told(connection).startswith(b"HTTP/1.1 200")
    (record,) = caplog.records
    assert "a connection could not be taken: Too many open files" in record.getMessage()


def test_others_are_served_beside_more_half_open_connections_than_descriptors(tmp_path):
    saved = checkpoint.Checkpoint(decoder(0, 512), TOKENIZER)
    checkpoint.save(tmp_path / "pretrain/checkpoint", saved)
    command = [sys.executable, "-m", "llmill", "serve", "pretrain", "--port", "0"]
    environment = {k: v for k, v in os.environ.items() if k != "LLMILL_API_KEY"}
    with (
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)),
        ) as process,
        contextlib.ExitStack() as held,
    ):
        try:
            port = int(re.search(r":(\d+)/v1", process.stdout.readline())[1])
            for _ in range(300):
                held.enter_context(connected(port, MODELS))
            for _ in range(5):
                where = f"http://127.0.0.1:{port}/v1/completions"
                assert httpx.post(where, json=ASKED, timeout=20).status_code == 200
            process.terminate()
            out, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (out, process.returncode) == ("llmill: stopped\n", 0)
    assert errors.count("\n") == 1 and "all 192 connections are taken" in errors


@pytest.mark.parametrize(
    ("descriptors", "wanted", "most"), [(256, 1024, 192), (1088, 1024, 1024), (100, 10, 10)]
)
def test_connections_leave_descriptors_for_files(monkeypatch, descriptors, wanted, most):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, 4096))
    assert connections.allowed(wanted) == most


def test_a_process_with_too_few_descriptors_is_told_how_to_have_more(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 4096))
    with pytest.raises(UserError, match=r"64 files may be open .*`ulimit -n 1024` allows more"):
        connections.allowed(1024)
