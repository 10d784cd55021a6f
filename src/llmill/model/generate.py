"""Generation: greedy or sampled continuations of a batch of prompts.

Rows of any length stand in one batch, padded on the left. A text longer than the context is
continued from its last `block_size` tokens; until one of the batch is, keys and values of what was
read are kept, and each step reads one token a row.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from llmill.model.transformer import Cache, Transformer


@dataclass(frozen=True)
class Choice:
    """How the next token is chosen. Temperature 0 is greedy; limits of a draw apply one after the
    other, as they stand here. Raises `ValueError` for what leaves nothing to choose from.
    """

    temperature: float = 0.0
    repetition_penalty: float = 1.0  # of tokens that the text holds: their logits over or times it
    top_k: int | None = None  # the k most likely
    top_p: float | None = None  # the most likely that together have this probability
    min_p: float | None = None  # those at least this share as likely as the most likely

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError("temperature must be 0 or more")
        if self.repetition_penalty <= 0:
            raise ValueError("repetition_penalty must be above 0")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError("top_k must be 1 or more")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError("top_p must be above 0 and at most 1")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise ValueError("min_p must be from 0 to 1")


GREEDY = Choice()


@torch.inference_mode()
def generate(
    model: Transformer,
    prompts: list[list[int]],
    *,
    max_new_tokens: int,
    end_of_text: int,
    choice: Choice = GREEDY,
    seed: int = 0,
    cached: bool = True,
) -> list[list[int]]:
    """New tokens of each prompt, up to `max_new_tokens` or before `end_of_text`.

    Without `cached` every step reads every text anew: the same tokens, slower.
    """
    generator = torch.Generator().manual_seed(seed)
    texts = [list(ids) or [end_of_text] for ids in prompts]
    starts = [len(ids) for ids in texts]
    reader = Reader(model, texts, max_new_tokens, cached)
    open_rows = list(range(len(texts)))
    for _ in range(max_new_tokens):
        if not open_rows:
            break
        logits = reader.next_logits(open_rows)  # (B, V)
        chosen = choose(logits, [texts[row] for row in open_rows], choice, generator)
        for row, token in zip(open_rows, chosen, strict=True):
            texts[row].append(token)
        open_rows = [r for r, token in zip(open_rows, chosen, strict=True) if token != end_of_text]
    new = [ids[start:] for ids, start in zip(texts, starts, strict=True)]
    return [ids[:-1] if ids and ids[-1] == end_of_text else ids for ids in new]


class Reader:
    """Reads texts that grow by a token a step, each only once while all fit into the context."""

    def __init__(self, model: Transformer, texts: list[list[int]], steps: int, cached: bool):
        self._model, self._texts = model, texts
        self._device = next(model.parameters()).device
        self._block = model.config.block_size
        self._columns = min(self._block, max(map(len, texts), default=0) + steps)
        self._cached, self._cache = cached, None
        self._rows: list[int] = []  # of the texts, that the cache holds

    def next_logits(self, rows: list[int]) -> Tensor:
        """Logits of the token after each of these texts, (B, V), on the CPU."""
        if self._cached and self._cache is None:
            self._cached = max(len(self._texts[row]) for row in rows) <= self._block
        if self._cache is not None and self._cache.used == self._columns:
            self._cached, self._cache = False, None  # the context is full
        idx, cache = self._next(rows) if self._cached else self._anew(rows)
        last = torch.zeros_like(idx, dtype=torch.bool)
        last[:, -1] = True
        return self._model(idx, last, cache=cache).float().cpu()

    def _anew(self, rows: list[int]) -> tuple[Tensor, Cache]:
        idx, first = self._padded([self._texts[row][-self._block :] for row in rows])
        return idx, Cache(first, idx.size(1))

    def _next(self, rows: list[int]) -> tuple[Tensor, Cache]:
        if self._cache is None:
            idx, first = self._padded([self._texts[row] for row in rows])
            self._cache = Cache(first, self._columns)
        else:
            if rows != self._rows:
                self._cache.keep([self._rows.index(row) for row in rows])
            idx = torch.tensor([self._texts[row][-1:] for row in rows], device=self._device)
        self._rows = rows
        return idx, self._cache

    def _padded(self, texts: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Texts side by side, (B, T), ending in one column; and where each begins, (B,)."""
        width = max(map(len, texts))
        rows = [[0] * (width - len(ids)) + ids for ids in texts]
        first = [width - len(ids) for ids in texts]
        return torch.tensor(rows, device=self._device), torch.tensor(first, device=self._device)


def choose(
    logits: Tensor, texts: list[list[int]], choice: Choice, generator: torch.Generator
) -> list[int]:
    """A token for each row of logits, (B, V), whose text so far stands beside it."""
    if choice.repetition_penalty != 1.0:
        logits = _less_of_the_same(logits, texts, choice.repetition_penalty)
    if choice.temperature == 0:
        return logits.argmax(dim=-1).tolist()
    logits = logits / choice.temperature
    if choice.top_k is not None and choice.top_k < logits.size(-1):
        logits = logits.masked_fill(logits < logits.topk(choice.top_k).values[:, -1:], -torch.inf)
    if choice.top_p is not None:
        ordered, order = logits.softmax(dim=-1).sort(dim=-1, descending=True)
        beyond = ordered.cumsum(dim=-1) - ordered >= choice.top_p  # without it there is enough
        logits = logits.masked_fill(beyond.gather(-1, order.argsort(dim=-1)), -torch.inf)
    if choice.min_p is not None:
        likely = logits.softmax(dim=-1)
        least = choice.min_p * likely.max(dim=-1, keepdim=True).values
        logits = logits.masked_fill(likely < least, -torch.inf)
    return torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)[:, 0].tolist()


def _less_of_the_same(logits: Tensor, texts: list[list[int]], penalty: float) -> Tensor:
    """Positive logits of tokens in the text by the penalty, negative ones times it (Keskar et al.
    2019).
    """
    held = torch.zeros_like(logits, dtype=torch.bool)
    for row, ids in enumerate(texts):
        held[row, list(set(ids))] = True
    return torch.where(held, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


# STAND-IN until the engine lands: drop everything below in the merge.


@dataclass(frozen=True)
class Drawn:
    """A token, and the logits that it was drawn by, (V,) float32 on the CPU."""

    token: int
    logits: Tensor  # before temperature and limits


class Writer:
    """Texts that go on together, a token a step each; they join and leave between steps."""

    def __init__(self, model: Transformer, cached: bool = True):
        self._model = model
        self._texts: dict[int, tuple[list[int], Choice, torch.Generator]] = {}
        self._begun = 0

    @property
    def open(self) -> int:
        """How many texts go on."""
        return len(self._texts)

    def begin(self, prompt: list[int], choice: Choice = GREEDY, seed: int = 0) -> int:
        """The number of a new text; it is read at the next step."""
        self._begun += 1
        generator = torch.Generator().manual_seed(seed)
        self._texts[self._begun] = (list(prompt), choice, generator)
        return self._begun

    @torch.inference_mode()
    def step(self) -> dict[int, Drawn]:
        """The next token of each open text, by its number."""
        drawn = {}
        for number, (ids, choice, generator) in self._texts.items():
            window = torch.tensor([ids[-self._model.config.block_size :]])
            logits = self._model(window)[:, -1].float().cpu()  # (1, V)
            (token,) = choose(logits, [ids], choice, generator)
            ids.append(token)
            drawn[number] = Drawn(token, logits[0])
        return drawn

    def end(self, number: int) -> None:
        """The text leaves."""
        del self._texts[number]
