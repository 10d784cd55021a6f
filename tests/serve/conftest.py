"""One server over random models, for all tests that leave it as it is; and others to order."""

import threading

import pytest

from llmill.model.generate import Writer
from llmill.serve import worker
from tests.serve.served import parrots, random_models, serving


@pytest.fixture(scope="session")
def server():
    with serving(random_models()) as running:
        yield running


@pytest.fixture
def client(server):
    return server.client()


@pytest.fixture
def parrot():
    """A server whose assistant says `87.` and ends."""
    with serving(parrots("87.")) as running:
        yield running


@pytest.fixture
def gate(monkeypatch):
    """Steps are done while it is set; `reached` is set when the first one is to be done."""
    opened = threading.Event()

    class Gated(Writer):
        def step(self):
            opened.reached.set()
            assert opened.wait(30)
            opened.steps += 1
            return super().step()

    opened.steps, opened.reached = 0, threading.Event()

    monkeypatch.setattr(worker, "Writer", Gated)
    yield opened
    opened.set()
