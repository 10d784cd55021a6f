"""A text on its way: tokens in, parts of the answer out."""

from collections.abc import Callable
from dataclasses import dataclass

from llmill.model.generate import Drawn
from llmill.model.transformer import Transformer
from llmill.serve.orders import Order
from llmill.serve.refusal import Refusal
from llmill.serve.scores import Score, prompt_scores, score
from llmill.text.stream import TextStream


@dataclass(frozen=True)
class Part:
    """A piece of the answer with the tokens that begin in it; the last one says why it ends."""

    text: str
    scores: tuple[tuple[int, Score], ...] = ()  # each with the characters before it
    finish: str | None = None  # stop: it came to its end; length: it may not go on
    written: int = 0  # tokens drawn so far, <|endoftext|> among them


class Text:
    """An order and how far it got. The worker's thread alone calls it."""

    def __init__(self, order: Order, deliver: Callable[[Part | Refusal], None]):
        """`deliver` gets each part, and at the end a part with `finish`, or a refusal."""
        self.order, self.deliver = order, deliver
        tokenizer = order.served.language.tokenizer
        self._decode_bytes, self._end_of_text = tokenizer.decode_bytes, tokenizer.end_of_text
        self._stream = TextStream(tokenizer.decode_bytes, order.stop)
        self._before = 0  # characters that were echoed
        self._scores: list[tuple[int, Score]] = []  # of tokens whose text is held back
        self._written = 0

    def begin(self, model: Transformer) -> bool:
        """Give the prompt back, if that is asked, scored by the model; whether nothing else is."""
        order = self.order
        if order.echoed is not None:
            stream = TextStream(self._decode_bytes)
            starts, pieces = [], []
            for token in order.echoed:
                starts.append(stream.whole)
                pieces.append(stream.push(token))
            text = "".join(pieces) + stream.close()
            scores: list[Score] = []
            if order.top is not None and order.echoed:
                every = prompt_scores(model, order.prompt, order.top)
                scores = every[-len(order.echoed) :]
            self._before = len(text)
            self.deliver(Part(text, tuple(zip(starts, scores, strict=False))))
        if order.max_tokens == 0:
            self.deliver(Part("", finish="length"))
        return order.max_tokens == 0

    def take(self, drawn: Drawn) -> bool:
        """Go on with a token; whether the text ends with it."""
        self._written += 1
        if drawn.token == self._end_of_text:
            return self._end("", "stop")
        if self.order.top is not None:
            start = self._before + self._stream.whole
            self._scores.append((start, score(drawn.logits, drawn.token, self.order.top)))
        piece = self._stream.push(drawn.token)
        if self._stream.stopped:
            return self._end(piece, "stop")
        if self._written == self.order.max_tokens:
            return self._end(piece, "length")
        if piece:
            self.deliver(Part(piece, self._shown(), written=self._written))
        return False

    def _end(self, piece: str, finish: str) -> bool:
        piece += self._stream.close()
        if self._stream.stopped:
            finish = "stop"
        self.deliver(Part(piece, self._shown(), finish, self._written))
        return True

    def _shown(self) -> tuple[tuple[int, Score], ...]:
        """Scores of the tokens that begin in what is shown, each once."""
        end = self._before + self._stream.shown
        shown = tuple(pair for pair in self._scores if pair[0] < end)
        self._scores = self._scores[len(shown) :]
        return shown
