"""A text in progress: its prompt is read in slices, so that other texts are written in between;
then tokens come in, and deltas of the answer go out.

Log-probabilities are in nats, before temperature and limits.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from llmill.model.cache import Cache
from llmill.model.generate import Drawn, Writer
from llmill.model.transformer import Transformer
from llmill.serve.errors import ApiError
from llmill.serve.served import Order
from llmill.text.tokenization.stream import TextStream

SLICE = 128  # tokens read at once
POSITIONS = 64  # positions whose logits are held at once


@dataclass(frozen=True)
class Score:
    """A token's log-probability, and the likeliest tokens in its place with theirs."""

    token: int
    logprob: float | None  # None: nothing stands before it
    likeliest: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class TextDelta:
    """A piece of the answer with the tokens that begin in it. The last delta says why the answer
    ends, and has the tokens that are not shown.
    """

    text: str
    scores: tuple[tuple[int, Score], ...] = ()  # each with the number of characters before it
    finish: str | None = None  # stop: it ended; length: it reached its limit
    written: int = 0  # tokens drawn so far, including <|endoftext|>


class Reading:
    """Reads a prompt except its last token, which the writer reads; scores it on the way, if
    requested.
    """

    def __init__(self, prompt: list[int], top: int | None):
        """`top`: likeliest tokens reported with each; None: no scores."""
        self._prompt, self._top = prompt, top
        self.cache = Cache(torch.zeros(1, dtype=torch.long))
        self.scores = [] if top is None else [Score(prompt[0], None)]

    @property
    def next(self) -> int:
        """Tokens of the next slice; 0 when all is read."""
        return min(SLICE, len(self._prompt) - 1 - self.cache.used)

    @torch.inference_mode()
    def read(self, model: Transformer) -> None:
        """Read the next slice; after a failure, reading cannot continue."""
        start = self.cache.used
        end = start + self.next
        device = next(model.parameters()).device
        self.cache.first = self.cache.first.to(device)
        idx = torch.tensor([self._prompt[start:end]], device=device)
        hidden = model.hidden(idx, cache=self.cache)[0]  # (T, C)
        if self._top is not None:
            self.scores += scores(model, hidden, self._prompt[start + 1 : end + 1], self._top)


class Text:
    """An order and its progress. Only the worker's thread calls it."""

    def __init__(self, order: Order, deliver: Callable[[TextDelta | ApiError], None]):
        """`deliver` gets each delta, and at the end one with `finish`, or an error."""
        self.order, self.deliver = order, deliver
        tokenizer = order.served.language.tokenizer
        self._decode_bytes, self._ends = tokenizer.decode_bytes, tokenizer.ends
        self._stream = TextStream(tokenizer.decode_bytes, order.stop, order.strip)
        self._before = 0  # characters that were echoed
        self._scores: list[tuple[int, Score]] = []  # of tokens whose text is held back
        self._written = 0
        self._reading = _reading(order)
        self.half_read = False

    @property
    def reads(self) -> int:
        """Tokens of the slice that must be read before the text can begin; 0 if it can."""
        return 0 if self._reading is None else self._reading.next

    @property
    def joins(self) -> int:
        """Tokens that the writer reads, if it can begin."""
        return 0 if self.reads or self.order.max_tokens == 0 else len(self.order.prompt)

    def read(self, model: Transformer) -> None:
        """Read the next slice."""
        assert self._reading is not None
        self.half_read = True
        self._reading.read(model)

    def begin(self, writer: Writer) -> int | None:
        """Echo the prompt, if requested, and continue in a writer. Returns the text's number there,
        or None if nothing else is requested.
        """
        order, reading = self.order, self._reading
        self._reading, self.half_read = None, False
        if order.echoed is not None:
            self._echo([] if reading is None else reading.scores)
        if order.max_tokens == 0:
            self.deliver(TextDelta("", finish="length"))
            return None
        already = reading.cache if reading is not None and reading.cache.used else None
        return writer.begin(order.prompt, order.choice, order.seed, already)

    def _echo(self, scores: list[Score]) -> None:
        """Deliver the end of the prompt, with the scores of its tokens."""
        echoed = self.order.echoed or []
        stream = TextStream(self._decode_bytes)
        starts, pieces = [], []
        for token in echoed:
            starts.append(stream.whole)
            pieces.append(stream.push(token))
        text = "".join(pieces) + stream.close()
        self._before = len(text)
        own = scores[len(scores) - len(echoed) :]
        self.deliver(TextDelta(text, tuple(zip(starts, own, strict=False))))

    def take(self, sample: Drawn) -> bool:
        """Continue with a token; return whether the text ends with it."""
        self._written += 1
        ended = sample.token in self._ends
        piece = self._stream.close() if ended else ""  # what was held back stands before it
        if self.order.top is not None:
            start = self._before + self._stream.whole
            self._scores.append((start, score(sample.logits, sample.token, self.order.top)))
        if ended:
            return self._end(piece, "stop")
        piece = self._stream.push(sample.token)
        if self._stream.stopped:
            return self._end(piece, "stop")
        if self._written == self.order.max_tokens:
            return self._end(piece, "length")
        if piece:
            self.deliver(TextDelta(piece, self._shown(), written=self._written))
        return False

    def _end(self, piece: str, finish: str) -> bool:
        piece += self._stream.close()
        if self._stream.stopped:
            finish = "stop"
        end = self._before + self._stream.shown
        scores = tuple((min(start, end), each) for start, each in self._scores)  # hidden ones too
        self.deliver(TextDelta(piece, scores, finish, self._written))
        return True

    def _shown(self) -> tuple[tuple[int, Score], ...]:
        """Return the scores of the tokens that begin in the shown text, each once."""
        end = self._before + self._stream.shown
        ready = tuple(pair for pair in self._scores if pair[0] < end)
        self._scores = self._scores[len(ready) :]
        return ready


def _reading(order: Order) -> Reading | None:
    """Return what must be read in slices: a prompt that is scored, or too long for the writer to
    read at once.
    """
    scored = order.top is not None and bool(order.echoed)
    if scored or (order.max_tokens > 0 and len(order.prompt) - 1 > SLICE):
        return Reading(order.prompt, order.top if scored else None)
    return None


def score(logits: Tensor, token: int, top: int) -> Score:
    """Return the score of a token under logits, (V,)."""
    return _scores(logits[None], [token], top)[0]


def scores(model: Transformer, hidden: Tensor, tokens: list[int], top: int) -> list[Score]:
    """Return the score of each token after its row of the stream, (T, C)."""
    values = []
    for start in range(0, len(tokens), POSITIONS):
        logits = model.head(hidden[start : start + POSITIONS]).cpu()
        values += _scores(logits, tokens[start : start + POSITIONS], top)
    return values


def _scores(logits: Tensor, tokens: list[int], top: int) -> list[Score]:
    """Return the score of a token for each row of logits, (N, V)."""
    logprobs = logits.double().log_softmax(dim=-1)
    own = logprobs.gather(1, torch.tensor(tokens)[:, None])[:, 0].tolist()
    best = logprobs.topk(min(top, logprobs.size(1)), dim=-1)
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [
        Score(token, logprob, tuple(zip(*pair, strict=True)))
        for token, logprob, pair in zip(tokens, own, pairs, strict=True)
    ]
