"""Limits on what a server takes at once."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits on texts, tokens, bytes and connections; each prompt of a request is its own text."""

    batch: int = 64  # texts that are written together
    waiting: int = 256  # texts that wait beyond these
    tokens: int = 8192  # written for one request, over all its prompts
    read: int = 65536  # tokens of a request's prompts
    body: int = 1 << 20  # bytes of a request
    connections: int = 1024  # open at once
