"""A real server on a loopback port, in a thread, over small checkpoints; and models to serve."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import torch

from llmill.model.generate import generate
from llmill.model.transformer import Transformer
from llmill.models import LanguageModel
from llmill.serve.app import create
from llmill.serve.limits import Limits
from llmill.serve.run import Server, listener
from llmill.serve.served import Served
from llmill.serve.worker import Worker
from llmill.tasks.templates import ALPACA
from llmill.text.tokenization.template import Template
from tests.evaluation.toys import SHAPE, bytes_tokenizer, decoder
from tests.waiting import until

if TYPE_CHECKING:
    import openai

TOKENIZER = bytes_tokenizer()
END = TOKENIZER.end_of_text
TEMPLATE = Template(ALPACA, TOKENIZER)


def random_models() -> dict[str, Served]:
    """An assistant and a foundation model, random, with a context of 512 bytes."""
    return {
        "instruct": Served("instruct", LanguageModel(decoder(1, 512), TOKENIZER, TEMPLATE)),
        "pretrain": Served("pretrain", LanguageModel(decoder(0, 512), TOKENIZER)),
    }


def parrot(answer: str, block_size: int = 512) -> Transformer:
    """A real decoder that goes on with these characters behind a line feed, whatever the seed; no
    character may occur twice.
    """
    chain = [10, *answer.encode(), END]
    assert len(set(chain)) == len(chain) <= SHAPE.n_embd
    shape = SHAPE.model_copy(update={"block_size": block_size, "tied": False})
    model = Transformer(shape, 257).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.norm.weight.fill_(1.0)
        for place, (token, following) in enumerate(itertools.pairwise(chain)):
            model.embedding.weight[token, place] = 1.0
            model.head.weight[following, place] = 20.0
    return model


def parrots(answer: str, block_size: int = 512) -> dict[str, Served]:
    """An assistant that always says this."""
    language = LanguageModel(parrot(answer, block_size), TOKENIZER, TEMPLATE)
    return {"instruct": Served("instruct", language)}


@dataclass
class Running:
    """A server and ways to ask it."""

    port: int
    worker: Worker
    models: dict[str, Served]
    server: Server
    listening: socket.socket
    key: str | None = None
    clients: list[openai.OpenAI] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options) -> openai.OpenAI:
        """The official client."""
        import openai  # takes a second

        values = {"api_key": self.key or "none", "max_retries": 0, **options}
        self.clients.append(openai.OpenAI(base_url=f"{self.url}/v1", **values))
        return self.clients[-1]

    def post(self, path: str, **fields) -> httpx.Response:
        """A request without any client of the interface."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.post(f"{self.url}/v1/{path}", json=fields, headers=headers, timeout=60)

    def open_connections(self) -> int:
        return len(self.server.server_state.connections)

    def empty(self) -> None:
        """Wait until nothing is written or waits; fail if that does not come."""
        until(lambda: self.worker.open == 0)


@contextlib.contextmanager
def serving(
    models: dict[str, Served], limits: Limits | None = None, key: str | None = None, **options
) -> Iterator[Running]:
    listening = listener("127.0.0.1", 0)
    limits = limits or Limits()
    app = create(models, limits, key, **options)
    server = Server(app, limits.connections)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    port = listening.getsockname()[1]
    running = Running(port, app.state.worker, models, server, listening, key)
    try:
        until(lambda: server.started)
        yield running
    finally:
        for client in running.clients:
            client.close()
        server.should_exit = True
        thread.join(120)
        assert not thread.is_alive(), "the server does not stop"


def alone(served: Served, ids: list[int], count: int) -> list[int]:
    """What `generate` goes on with, greedily."""
    (new,) = generate(served.language.model, [ids], max_new_tokens=count, end_of_text=END)
    return new
