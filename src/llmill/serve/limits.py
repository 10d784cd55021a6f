"""What the server takes on, and no more."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Of texts, tokens, bytes and connections; each prompt of a request is a text of its own."""

    batch: int = 64  # texts that go on together
    waiting: int = 256  # texts beyond these
    tokens: int = 8192  # that one request may have written, over all its prompts
    read: int = 65536  # tokens of its prompts
    body: int = 1 << 20  # bytes of a request
    connections: int = 1024  # open at once
