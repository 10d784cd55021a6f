"""The server under load: concurrent streams, with each answer checked against the answer to the
same prompt alone.

python benchmarks/serving.py [--model results/instruct] [--streams 64] [--seconds 60]

Without --model, a random model of the world preset's shape is served. The server is a separate
process, so its memory is measured alone. It ends with the benchmark.

Answers are the same up to the rounding of sums: a product of another number of rows sums in another
order, so a near tie may flip. A mixed answer of a model with such ties is thus not an error by
itself.
"""

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import httpx
import psutil
import torch
import typer

from llmill.model import checkpoint
from llmill.model.transformer import Transformer
from llmill.runner import params
from llmill.text.tokenization.tokenizer import Tokenizer

WORLD = Path(__file__).parents[1] / "presets" / "world.yaml"
SEED = 0
PROMPTS = [f"Question {number}: what is {number} + {3 * number}?" for number in range(32)]
LONGEST_WAIT = 120.0  # seconds for an answer


@dataclass
class Tally:
    """Counts of the answers."""

    requests: int = 0
    tokens: int = 0
    errors: int = 0
    mixed: int = 0
    different: int = 0  # number of different answers to the prompts alone
    reasons: set[str] = field(default_factory=set)


def random_checkpoint(folder: Path, vocabulary: int = 256) -> Path:
    """Save a checkpoint with random weights, large enough that greedy answers differ between
    prompts. The tokens are bytes and pairs of bytes.
    """
    torch.manual_seed(SEED)
    pairs = (bytes([first, second]) for first in range(256) for second in range(256))
    tokens = [*(bytes([byte]) for byte in range(256)), *itertools.islice(pairs, vocabulary - 256)]
    tokenizer = Tokenizer({token: rank for rank, token in enumerate(tokens)})
    model = Transformer(params.load(WORLD).model, tokenizer.n_vocab).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    checkpoint.save(folder / "random" / "checkpoint", checkpoint.Checkpoint(model, tokenizer))
    return folder / "random"


async def answer(
    client: httpx.AsyncClient, model: str, prompt: str, tokens: int
) -> tuple[str, int]:
    """Stream a greedy answer; return it and its number of tokens. Raises ValueError for an error of
    the server.
    """
    asked = {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0}
    asked |= {"stream": True, "stream_options": {"include_usage": True}}
    text, written = "", 0
    async with client.stream("POST", "/v1/completions", json=asked) as response:
        if response.status_code != 200:
            raise ValueError(f"{response.status_code} {(await response.aread()).decode()}")
        async for line in response.aiter_lines():
            if line in ("", "data: [DONE]"):
                continue
            told = json.loads(line.removeprefix("data: "))
            if "error" in told:
                raise ValueError(told["error"]["message"])
            if told["usage"]:
                written = told["usage"]["completion_tokens"]
            text += "".join(choice["text"] for choice in told["choices"])
    return text, written


async def load(url: str, model: str, streams: int, seconds: float, tokens: int) -> Tally:
    """Run `streams` streams for `seconds` seconds; each sends its next request when answered."""
    tally = Tally()
    limits = httpx.Limits(max_connections=streams)
    async with httpx.AsyncClient(base_url=url, timeout=LONGEST_WAIT, limits=limits) as client:
        lengths = {
            prompt: 1 + number % tokens for number, prompt in enumerate(PROMPTS, tokens // 2)
        }
        alone = {p: (await answer(client, model, p, lengths[p]))[0] for p in PROMPTS}
        tally.different = len(set(alone.values()))
        end = time.monotonic() + seconds

        async def stream(number: int) -> None:
            while time.monotonic() < end:
                prompt = PROMPTS[number % len(PROMPTS)]
                number += 1
                try:
                    text, written = await answer(client, model, prompt, lengths[prompt])
                except (httpx.HTTPError, ValueError) as error:
                    tally.errors += 1
                    tally.reasons.add(f"{type(error).__name__}: {error}"[:160])
                    await asyncio.sleep(0.1)
                    continue
                tally.requests += 1
                tally.tokens += written
                tally.mixed += text != alone[prompt]

        await asyncio.gather(*(stream(number) for number in range(streams)))
    return tally


def main(
    model: Annotated[
        str | None, typer.Option(help="As in `chat`. Default: a random model.")
    ] = None,
    streams: Annotated[int, typer.Option(min=1, help="Concurrent streams.")] = 64,
    seconds: Annotated[float, typer.Option(min=1, max=3600)] = 60,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of the longest answer.")] = 64,
) -> None:
    """Print requests, tokens per second, errors, mixed answers, and the server's memory."""
    with tempfile.TemporaryDirectory() as folder:
        name = model or str(random_checkpoint(Path(folder)))
        words = [sys.executable, "-m", "llmill", "serve", name, "--port", "0"]
        environment = {k: v for k, v in os.environ.items() if k != "LLMILL_API_KEY"}
        with subprocess.Popen(
            [*words, "--batch", str(streams)], stdout=subprocess.PIPE, text=True, env=environment
        ) as server:
            try:
                assert server.stdout is not None
                address = re.search(r"(http://\S+)/v1", server.stdout.readline())
                if address is None:
                    sys.exit("the server did not start")
                process = psutil.Process(server.pid)
                warm = asyncio.run(load(address[1], name, streams, seconds / 10, tokens))
                before = process.memory_info().rss / 2**20
                begun = time.monotonic()
                tally = asyncio.run(load(address[1], name, streams, seconds, tokens))
                took = time.monotonic() - begun
                after = process.memory_info().rss / 2**20
            finally:
                server.send_signal(signal.SIGTERM)
    print(f"{streams} streams, {took:.0f} s: {tally.requests} requests, {tally.tokens} tokens")
    print(f"{tally.tokens / took:.0f} tokens/s")
    print(f"{tally.different} different answers to {len(PROMPTS)} prompts, got alone")
    print(f"{tally.errors + warm.errors} errors, {tally.mixed + warm.mixed} mixed answers")
    print(f"server: {before:.1f} MiB after a tenth of the time, {after:.1f} MiB at the end")
    for reason in sorted(tally.reasons | warm.reasons):
        print(reason)
    if tally.errors or tally.mixed or warm.errors or warm.mixed or not tally.requests:
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
