"""`python -m llmill serve`: its address, its key, its end; and the script of docs/serving.md."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys

import httpx
import pytest
from typer.testing import CliRunner

from llmill.__main__ import app
from llmill.contract.errors import UserError
from llmill.model import checkpoint
from llmill.runner import streams
from llmill.serve import run
from llmill.tasks.templates import ALPACA
from tests.conftest import ROOT
from tests.evaluation.toys import headed
from tests.serve.served import TOKENIZER, decoder, parrot, random_models, serving

KEY = "LLMILL_API_KEY"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Checkpoints of an assistant, a foundation model and a classifier."""
    root = tmp_path_factory.mktemp("serve")
    foundation = checkpoint.Checkpoint(decoder(0, 512), TOKENIZER)
    checkpoint.save(root / "pretrain/checkpoint", foundation)
    assistant = checkpoint.Checkpoint(parrot("87."), TOKENIZER, template=ALPACA)
    checkpoint.save(root / "instruct/checkpoint", assistant)
    classifier = checkpoint.Checkpoint(headed(2), TOKENIZER, ["ham", "spam"], 48)
    checkpoint.save(root / "classify/checkpoint", classifier)
    return root


def command(folder, *words: str, **variables: str) -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if k != KEY}
    return subprocess.Popen(
        [sys.executable, "-m", "llmill", "serve", *words],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT / "src"), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def started(folder, *words: str, **variables: str):
    """The process and its address."""
    with command(folder, *words, "--port", "0", **variables) as process:
        try:
            said = process.stdout.readline()
            yield process, re.search(r"(http://127\.0\.0\.1:\d+)/v1", said)[1]
        finally:
            process.kill()


@pytest.fixture(scope="module")
def default(folder):
    """The address of a server without options. A start takes seconds, so tests share three."""
    with started(folder) as (_, url):
        yield url


@pytest.fixture(scope="module")
def both(folder):
    """That of a server of two models."""
    with started(folder, "instruct", "pretrain") as (_, url):
        yield url


@pytest.fixture(scope="module")
def limited(folder):
    """That of a server with a key and limits."""
    words = "pretrain --tokens 5 --read 9 --body 200 --connections 2 --dtype float32"
    with started(folder, *words.split(), **{KEY: "s3cret"}) as (_, url):
        yield url


def test_a_stage_is_served_as_chat_names_it_and_by_default_the_assistant(default, both):
    for url, names in ((default, ["instruct"]), (both, ["instruct", "pretrain"])):
        listed = httpx.get(f"{url}/v1/models", timeout=60).json()["data"]
        assert [(model["id"], model["chat"]) for model in listed] == [
            (name, name == "instruct") for name in names
        ]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_answers_end_and_is_no_error(folder, signum):
    asked = {"model": "pretrain", "prompt": "x", "max_tokens": 100, "stream": True}
    with started(folder, "pretrain") as (process, url):
        with httpx.stream("POST", f"{url}/v1/completions", json=asked, timeout=180) as response:
            lines = response.iter_lines()
            next(lines)
            process.send_signal(signum)
            assert list(lines)[-2:] == ["data: [DONE]", ""]
        out, errors = process.communicate(timeout=180)
        assert (out, errors, process.returncode) == ("llmill: stopped\n", "", 0)


def test_an_idle_server_stops_at_once_though_a_connection_is_kept_open(monkeypatch):
    monkeypatch.setattr(run, "GRACE", 3600)
    with httpx.Client(timeout=60) as client, serving(random_models()) as server:
        assert client.get(f"{server.url}/v1/models").status_code == 200
        assert server.open_connections() == 1
    assert server.open_connections() == 0  # and its thread has ended


def test_a_signal_before_the_server_runs_is_not_lost(folder):
    script = """
import os, signal
from llmill.serve import limits, run
running = run.Server.run
def early(self, sockets):
    os.kill(os.getpid(), signal.SIGTERM)
    running(self, sockets=sockets)
run.Server.run = early
run.serve(["pretrain"], "127.0.0.1", 0, limits.Limits(), "float32")
"""
    environment = {k: v for k, v in os.environ.items() if k != KEY}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert (done.stdout.splitlines()[1:], done.stderr, done.returncode) == (
        ["llmill: stopped"],
        "",
        0,
    )


def test_a_request_must_name_this_machine(default):
    for host, status in (("localhost:8000", 200), ("evil.example", 400)):
        response = httpx.get(f"{default}/v1/models", headers={"Host": host})
        assert response.status_code == status
    assert response.json()["error"]["code"] == "invalid_host"


GIVEN = {"Authorization": "Bearer s3cret"}


def test_the_key_is_read_from_the_environment(limited):
    assert httpx.get(f"{limited}/v1/models", timeout=60).status_code == 401
    assert httpx.get(f"{limited}/v1/models", headers=GIVEN).status_code == 200


def test_limits_are_options(limited):
    for fields, status in (({"max_tokens": 5}, 200), ({"max_tokens": 6}, 400), ({"prompt": "x" * 9}, 400), ({"user": "x" * 200}, 413)):  # fmt: skip
        asked = {"model": "pretrain", "prompt": "x", "max_tokens": 5, **fields}
        response = httpx.post(f"{limited}/v1/completions", json=asked, headers=GIVEN)
        assert response.status_code == status


def test_the_weights_number_type_is_an_option(folder, limited):
    asked = {"model": "pretrain", "prompt": "x", "max_tokens": 1, "logprobs": 5, "temperature": 0}
    told = []
    with started(folder, "pretrain", "--dtype", "bfloat16") as (_, other):
        for url in (limited, other):
            answer = httpx.post(f"{url}/v1/completions", json=asked, headers=GIVEN).json()
            told.append(answer["choices"][0]["logprobs"]["token_logprobs"][0])
    assert told[0] != told[1] and abs(told[0] - told[1]) < 0.05


def refused(folder, *words: str, **variables: str) -> str:
    """The line about what the command cannot serve, of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv(KEY, raising=False)
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.setattr(streams.Surviving, "outlives", False)  # the command sets it
        done = CliRunner().invoke(app, ["serve", *words])
    assert isinstance(done.exception, UserError)
    assert done.output == ""
    return f"llmill: {done.exception}"


@pytest.mark.parametrize(
    ("words", "variables", "reason"),
    [
        (
            ["classify"],
            {},
            "classify/checkpoint: not a language model; use `classify-text` with a classifier",
        ),
        (["nowhere"], {}, "nowhere: no such folder or file, and there are no stages here"),
        ([], {KEY: ""}, "LLMILL_API_KEY: empty or not ASCII; unset it, or set it to a key"),
        (["--host", "256.1.1.1"], {}, "256.1.1.1, port 0: "),
    ],
)
def test_what_cannot_be_served_is_one_line(folder, words, variables, reason):
    said = refused(folder, *words, "--port", "0", **variables)
    assert said.startswith(f"llmill: {reason}")
    assert "\n" not in said
    assert "--port takes another" not in said


def test_a_port_that_is_taken_is_one_line(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with command(folder, "--port", port) as process:
            out, errors = process.communicate(timeout=180)
        said = refused(folder, "--port", port)
    assert said == f"llmill: 127.0.0.1, port {port}: Address already in use; --port takes another"
    assert (out, process.returncode, errors) == ("", 1, f"{said}\n")


def test_the_script_of_the_document_runs_as_it_stands(both):
    text = (ROOT / "docs/serving.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert script.count("\n") <= 20
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "OPENAI_BASE_URL": f"{both}/v1", "OPENAI_API_KEY": "none"},
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    assert done.stdout.startswith("87.\n")
    assert done.stdout.count("\n") >= 3
