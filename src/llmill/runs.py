"""`llmill runs`: MLflow's pages for the runs of this repository, at the address of their table.

`mlflow ui` by itself opens a page for traces, which do not exist here.
"""

import os
import socket
import sys
from urllib.parse import urlsplit

from llmill.contract.errors import UserError
from llmill.runner import params, tracking

HOST = "127.0.0.1"


def show_runs(port: int) -> None:
    """Print the address and become the server, unless the runs are on a server elsewhere.

    Raises `UserError` if there are no runs yet, or the port is taken.
    """
    experiment, uri = params.load().name, tracking.uri()
    if urlsplit(uri).scheme in ("http", "https"):
        print(address(tracking.shown_uri(), experiment))
        return
    _refuse_taken(port)
    print(address(f"http://{HOST}:{port}", experiment), flush=True)
    # MLflow would start four workers, each with all of its imports, and processes for jobs, which
    # outlive it; one user needs only one, and no jobs.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    words = ["--backend-store-uri", uri, "--host", HOST, "--port", str(port), "--workers", "1"]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "ui", *words])


def address(server: str, experiment: str) -> str:
    """Return the address of an experiment's runs on a server. Raises `UserError` if it has none."""
    number = tracking.experiment_id(experiment)
    if number is None:
        raise UserError(
            f"no run of '{experiment}' (name in params.yaml) yet; `dvc repro` makes some"
        )
    table = f"#/experiments/{number}/runs?workflowType=machine_learning"
    return f"{server.rstrip('/')}/{table}"


def _refuse_taken(port: int) -> None:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"{HOST}, port {port}: {error.strerror}; name another: --port"
            ) from None
