"""A prompt that is read a slice at a time, so that others are written in between."""

import torch

from llmill.model.cache import Cache
from llmill.model.transformer import Transformer
from llmill.serve.scores import Score, scores

SLICE = 128  # tokens that are read at once


class Reading:
    """All of a prompt but its last token, which the writer reads; scored on the way, if asked."""

    def __init__(self, prompt: list[int], top: int | None):
        """`top`: likeliest tokens that are told beside each; None: no scores."""
        self._prompt, self._top = prompt, top
        self.cache = Cache(torch.zeros(1, dtype=torch.long))
        self.scores = [] if top is None else [Score(prompt[0], None)]

    @property
    def next(self) -> int:
        """Tokens of the next slice; 0 when all is read."""
        return min(SLICE, len(self._prompt) - 1 - self.cache.used)

    @torch.inference_mode()
    def read(self, model: Transformer) -> None:
        """Read the next slice; a failure leaves nothing that could be gone on with."""
        start = self.cache.used
        end = start + self.next
        device = next(model.parameters()).device
        self.cache.first = self.cache.first.to(device)
        idx = torch.tensor([self._prompt[start:end]], device=device)
        hidden = model.hidden(idx, cache=self.cache)[0]  # (T, C)
        if self._top is not None:
            self.scores += scores(model, hidden, self._prompt[start + 1 : end + 1], self._top)
