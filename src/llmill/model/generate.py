"""Generation: greedy or sampled continuations of a batch of prompts.

One batch holds texts of any length, padded on the left. With the key-value cache, each step reads
one token per text. A text longer than the context is continued from its last `block_size` tokens,
which every step then reads again.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llmill.contract.values import LEAST_TEMPERATURE
from llmill.model.cache import Cache, joined
from llmill.model.packed import packed
from llmill.model.transformer import Transformer

LEAST_TOP_P = 1e-6  # below this, float32 leaves nothing to draw from


@dataclass(frozen=True)
class Choice:
    """How to choose the next token. Temperature 0 is greedy. The limits apply one after the other,
    in the order of these fields. Raises `ValueError` for values that leave nothing to choose from.
    """

    temperature: float = 0.0
    repetition_penalty: float = 1.0  # divides or multiplies the logits of tokens in the text
    top_k: int | None = None  # keep the k most likely tokens
    top_p: float | None = None  # keep the most likely tokens that together have this probability
    min_p: float | None = None  # keep tokens at least this share as likely as the most likely one

    def __post_init__(self) -> None:
        if self.temperature != 0 and not LEAST_TEMPERATURE <= self.temperature < math.inf:
            raise ValueError(f"temperature must be 0, or {LEAST_TEMPERATURE} or more")
        if not 0 < self.repetition_penalty < math.inf:
            raise ValueError("repetition_penalty must be above 0")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError("top_k must be 1 or more")
        if self.top_p is not None and not LEAST_TOP_P <= self.top_p <= 1:
            raise ValueError(f"top_p must be from {LEAST_TOP_P} to 1")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise ValueError("min_p must be from 0 to 1")


GREEDY = Choice()


def generate(
    model: Transformer,
    prompts: list[list[int]],
    *,
    max_new_tokens: int,
    end_of_text: int,
    ends: Collection[int] = (),
    choice: Choice = GREEDY,
    seed: int = 0,
    cached: bool = True,
) -> list[list[int]]:
    """Return the new token ids of each prompt: up to `max_new_tokens`, and without the
    `end_of_text` or token of `ends` that stops them. An empty prompt begins a document. Prompt i
    uses its own random numbers, with seed `seed + i`.

    Without `cached`, every step reads every text again, which gives the same tokens more slowly.
    """
    begun = [ids or [end_of_text] for ids in prompts]
    stops = {end_of_text, *ends}
    texts = generate_with_ends(model, begun, max_new_tokens, stops, choice, seed, cached)
    return [ids[:-1] if ids and ids[-1] in stops else ids for ids in texts]


@torch.inference_mode()
def generate_with_ends(
    model: Transformer,
    prompts: Sequence[list[int]],
    max_new_tokens: int,
    ends: Collection[int],
    choice: Choice = GREEDY,
    seed: int = 0,
    cached: bool = True,
) -> list[list[int]]:
    """Return the new token ids of each prompt, as `generate` does, but including the token of
    `ends` that stops them. Raises ValueError for an empty prompt.
    """
    if not prompts:
        return []
    writer = Writer(model, cached, expected=len(prompts))
    texts: dict[int, list[int]] = {}
    for i, ids in enumerate(prompts):
        texts[writer.begin(ids, choice, seed + i)] = []
    for _ in range(max_new_tokens):
        for number, sample in writer.step().items():
            texts[number].append(sample.token)
            if sample.token in ends:
                writer.end(number)
    return list(texts.values())


@dataclass(frozen=True)
class Drawn:
    """The next token of a text, and the logits (V,) from which it was drawn, on the CPU."""

    token: int
    logits: Tensor


@dataclass(frozen=True)
class _Text:
    ids: list[int]
    choice: Choice
    random: torch.Generator


class Writer:
    """Generates several texts together, one token per text and step. Texts join and leave between
    steps.

    A text depends only on its prompt, choice and seed, not on the other texts, except for the
    rounding of sums: a product of more rows sums in another order, and a near tie may flip.
    """

    def __init__(self, model: Transformer, cached: bool = True, expected: int = 8):
        """Pack the model for `expected` texts at once; other numbers of texts are slower."""
        self.model, self.packed = model, packed(model, expected)
        self._device = next(model.parameters()).device
        self._block, self._cached = model.config.block_size, cached
        self._texts: dict[int, _Text] = {}
        self._count = 0
        self._cache: Cache | None = None
        self._rows: list[int] = []  # texts in the cache, which holds all but their last token
        self._already: dict[int, Cache] = {}  # caches of new texts that were read elsewhere

    def begin(
        self,
        prompt: list[int],
        choice: Choice = GREEDY,
        seed: int = 0,
        already: Cache | None = None,
    ) -> int:
        """Add a text, which the next step reads, and return its number.

        `already` is a cache of one row with all of the prompt but its last token, for a prompt that
        fits the context. The writer continues from that row. Raises ValueError for an empty prompt.
        """
        if not prompt:
            raise ValueError("a prompt needs a token to go on from")
        assert already is None or already.used + 1 == len(prompt) <= self._block
        self._count += 1
        random = torch.Generator().manual_seed(seed)
        self._texts[self._count] = _Text(list(prompt), choice, random)
        if already is not None and self._cached:
            self._already[self._count] = already
        return self._count

    def end(self, number: int) -> None:
        """Stop a text and forget it."""
        del self._texts[number]
        self._already.pop(number, None)
        if not self._texts:
            self._cache, self._rows = None, []

    @torch.inference_mode()
    def step(self) -> dict[int, Drawn]:
        """Draw the next token of every text; return it by the text's number."""
        samples = {}
        for number, logits in self._next_logits().items():
            text = self._texts[number]
            token = choose(logits, text.ids, text.choice, text.random)
            text.ids.append(token)
            samples[number] = Drawn(token, logits)
        return samples

    def _next_logits(self) -> dict[int, Tensor]:
        """Return the logits, (V,), after each text. Cached texts read one token, new texts are read
        into the cache, and texts longer than the context are read again.
        """
        fits = {n: self._cached and len(t.ids) <= self._block for n, t in self._texts.items()}
        going = self._go_on([n for n in self._rows if fits.get(n)])
        fresh = [n for n in fits if fits[n] and n not in going]
        beyond = [n for n in fits if not fits[n]]
        logits: dict[int, Tensor] = {}
        parts = []
        if going:
            assert self._cache is not None
            last = torch.tensor([self._texts[n].ids[-1:] for n in going], device=self._device)
            logits |= zip(going, self._read(last, self._cache), strict=True)
            parts.append((self._cache, list(range(len(going)))))
        if fresh:
            fresh_logits, cache = self._anew(fresh)
            logits |= zip(fresh, fresh_logits, strict=True)
            parts.append((cache, list(range(len(fresh)))))
        if beyond:
            logits |= zip(beyond, self._anew(beyond)[0], strict=True)
        self._rows = going + fresh
        self._cache = joined(parts) if len(parts) > 1 else parts[0][0] if parts else None
        return logits

    def _go_on(self, going: list[int]) -> list[int]:
        """Reduce the cache to the texts `going`, add the texts that were read elsewhere, and
        return the numbers of its rows.
        """
        if going == self._rows and not self._already:
            return going
        parts = [(cache, [0]) for cache in self._already.values()]
        if going:
            assert self._cache is not None
            parts.insert(0, (self._cache, [self._rows.index(n) for n in going]))
        self._cache = joined(parts) if parts else None
        self._rows = [*going, *self._already]
        self._already = {}
        return self._rows

    def _anew(self, numbers: list[int]) -> tuple[Tensor, Cache]:
        """Read the last tokens of these B texts, as many as the context holds. Return the logits,
        (B, V), and the cache.
        """
        texts = [self._texts[n].ids[-self._block :] for n in numbers]
        width = max(map(len, texts))
        rows = [[0] * (width - len(ids)) + ids for ids in texts]
        first = [width - len(ids) for ids in texts]
        cache = Cache(torch.tensor(first, device=self._device))
        return self._read(torch.tensor(rows, device=self._device), cache), cache

    def _read(self, idx: Tensor, cache: Cache) -> Tensor:
        """Return the logits after the last column of `idx`, (B, T): (B, V), on the CPU."""
        last = torch.zeros_like(idx, dtype=torch.bool)
        last[:, -1] = True
        return self.packed(idx, last, cache=cache).float().cpu()


def choose(logits: Tensor, ids: list[int], choice: Choice, random: torch.Generator) -> int:
    """Choose the next token of the text `ids` from its logits, (V,)."""
    if choice.repetition_penalty != 1.0:
        logits = _less_of_the_same(logits, ids, choice.repetition_penalty)
    if choice.temperature == 0:
        return int(logits.argmax())
    logits = logits / choice.temperature
    if choice.top_k is not None and choice.top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(choice.top_k).values[-1], -torch.inf)
    if choice.top_p is not None:
        ordered, order = logits.softmax(dim=-1).sort(descending=True)
        beyond = order[ordered.cumsum(dim=-1) - ordered >= choice.top_p]  # likelier ones suffice
        logits = logits.index_fill(0, beyond, -torch.inf)
    if choice.min_p is not None:
        likely = logits.softmax(dim=-1)
        logits = logits.masked_fill(likely < choice.min_p * likely.max(), -torch.inf)
    return int(torch.multinomial(logits.softmax(dim=-1), 1, generator=random))


def _less_of_the_same(logits: Tensor, ids: list[int], penalty: float) -> Tensor:
    """Divide positive logits, (V,), of tokens in the text by the penalty, and multiply negative
    ones by it (Keskar et al. 2019).
    """
    tokens = torch.tensor(sorted(set(ids)))
    seen = logits[tokens]
    return logits.index_copy(0, tokens, torch.where(seen > 0, seen / penalty, seen * penalty))
