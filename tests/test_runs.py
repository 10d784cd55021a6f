"""`llmill runs`: the address of the table of runs, and the server behind it, for real."""

import os
import re
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.conftest import ROOT, preset_text


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "params.yaml").write_text(preset_text("world"))
    return tmp_path


def runs(folder, *words: str) -> subprocess.Popen:
    own = ("MLFLOW_", "DVC_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(own)}
    return subprocess.Popen(
        [sys.executable, "-m", "llmill", "runs", *words],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_the_address_is_that_of_the_table_and_the_server_answers(repository):
    import mlflow  # takes a second

    database = f"sqlite:///{repository}/mlflow.db"
    number = mlflow.MlflowClient(database).create_experiment("world")
    port = free_port()
    server = runs(repository, "--port", str(port))
    try:
        line = server.stdout.readline().strip()
        assert line == (
            f"http://127.0.0.1:{port}/#/experiments/{number}/runs?workflowType=machine_learning"
        )
        for said in server.stderr:
            if "Uvicorn running on" in said:
                break
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=180) as page:
            assert re.search(r"<title>\s*MLflow", page.read().decode())
    finally:
        server.terminate()
        server.communicate(timeout=180)


def test_without_runs_and_on_a_taken_port_one_line_says_so(repository):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        out, said = runs(repository, "--port", str(port)).communicate(timeout=180)
        assert (out, said) == (
            "", f"llmill: 127.0.0.1, port {port}: Address already in use; name another: --port\n"
        )  # fmt: skip
    out, said = runs(repository, "--port", str(free_port())).communicate(timeout=180)
    assert said == "llmill: no run of 'world' (name in params.yaml) yet; `dvc repro` makes some\n"
