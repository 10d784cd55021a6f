"""One server over random models, for all tests that leave it as it is."""

import pytest

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
