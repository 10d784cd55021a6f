"""How far a model has moved from the model that it began from: KL(reference || model).

The divergence is estimated on answers that the reference draws before training. Only the
log-probabilities of their tokens must be kept, not a second model.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from llmill.model.generate import Choice, generate_with_ends
from llmill.model.transformer import Transformer
from llmill.text.tokenization.template import Template
from llmill.training.batches import Batch, collate_texts, learnt_example
from llmill.training.preference import token_log_probabilities

AT_ONCE = 32  # answers


class Drift:
    """Measures how far a model is from the reference that this object was made with."""

    def __init__(
        self,
        reference: Transformer,
        template: Template,
        prompts: Sequence[list[int]],
        max_new_tokens: int,
        seed: int,
    ):
        """Draw an answer to each prompt. A prompt that is too long for the context loses its
        beginning.
        """
        block = reference.config.block_size
        cut = [ids[-(block - max_new_tokens) :] for ids in prompts]
        # With the token that ends an answer: another end would be one that the model did not draw.
        ends, choice = template.tokenizer.ends, Choice(temperature=1.0)
        drawn = generate_with_ends(reference, cut, max_new_tokens, ends, choice, seed)
        examples = []
        for prompt, answer in zip(cut, drawn, strict=True):
            ids = [*prompt, *answer]
            learnt = [n >= len(prompt) for n in range(len(ids))]
            examples.append(learnt_example(ids, learnt, block))
        self._answers = len(examples)
        starts = range(0, len(examples), AT_ONCE)
        self._batches = [collate_texts(examples[n : n + AT_ONCE]) for n in starts]
        self._known = [self._nats(reference, batch) for batch in self._batches]

    def __call__(self, model: nn.Module) -> float:
        """Return the estimated divergence in nats per answer: the sum of p - 1 - log p over its
        tokens, where p is the ratio of a token's probability to the reference's.

        The mean of this estimator over the reference's draws is the divergence, and it is never
        below zero (Schulman 2020, "Approximating KL Divergence").
        """
        total = 0.0
        for batch, known in zip(self._batches, self._known, strict=True):
            gained = self._nats(model, batch) - known
            total += float((gained.exp() - 1 - gained).sum())
        return total / max(1, self._answers)

    @torch.inference_mode()
    def _nats(self, model: nn.Module, batch: Batch) -> Tensor:
        device = next(model.parameters()).device
        return token_log_probabilities(model, batch.to(device)).double().cpu()
