"""Loss over held-out text: of next tokens, of masked tokens, and by source."""

import math
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import nn

from llmill.model.cross_entropy import cross_entropy_by_group
from llmill.model.transformer import Transformer
from llmill.text.tokenization.shards import Shards
from llmill.text.tokenization.tokenizer import Tokenizer
from llmill.training.batches import at_once, windows
from llmill.training.losses import token_loss
from llmill.training.masking import masked_windows

EVALUATED = 16  # most windows per forward pass


@torch.inference_mode()
def loss_over(
    model: nn.Module, shards: Shards, block_size: int, tokenizer: Tokenizer, at_most: int | None
) -> dict[str, float]:
    """Return the mean loss in nats per token and in bits per byte over non-overlapping windows,
    which are spread evenly if `at_most` leaves some out. Windows are used even if training rows are
    packed, so that the figures are comparable.

    The bytes are those of the predicted tokens. <|endoftext|> has no bytes, but its loss counts.
    """
    device = next(model.parameters()).device
    sizes = _sizes(tokenizer)
    nats, tokens, n_bytes = 0.0, 0, 0
    for numbers in spread(shards, block_size, at_most):
        batch = windows(shards, block_size, numbers)
        nats += float(token_loss(model, batch.to(device)))
        tokens += batch.tokens
        n_bytes += int(sizes[batch.targets.numpy()].sum())
    return {"validation_loss": nats / tokens, "bits_per_byte": nats / math.log(2) / max(1, n_bytes)}


@torch.inference_mode()
def masked_loss_over(
    model: nn.Module, shards: Shards, block_size: int, tokenizer: Tokenizer, at_most: int | None
) -> dict[str, float]:
    """Return the mean loss in nats per masked token over the windows of `loss_over`, with the same
    masks every time. Do not compare it with the loss of next tokens: a masked token is predicted
    from the text on both sides.
    """
    device = next(model.parameters()).device
    nats, tokens = 0.0, 0
    for numbers in spread(shards, block_size, at_most):
        batch = masked_windows(shards, block_size, numbers, tokenizer.end_of_text)
        nats += float(token_loss(model, batch.to(device)))
        tokens += len(batch.targets)
    return {"masked_loss": nats / max(1, tokens)}


class Measure(Protocol):
    """Type of `loss_over` and `masked_loss_over`."""

    def __call__(
        self,
        model: nn.Module,
        shards: Shards,
        block_size: int,
        tokenizer: Tokenizer,
        at_most: int | None,
    ) -> dict[str, float]: ...


MEASURES: dict[str, Measure] = {"next_token": loss_over, "masked": masked_loss_over}


def spread(shards: Shards, block_size: int, at_most: int | None) -> Iterator[list[int]]:
    """Yield the numbers of at most `at_most` windows, or of all, spread evenly, a few at a time."""
    available = shards.n_windows(block_size)
    count = available if at_most is None else min(at_most, available)
    numbers = [i * available // count for i in range(count)]
    size = at_once(EVALUATED, block_size)
    for start in range(0, count, size):
        yield numbers[start : start + size]


def loss_by_source(
    model: Transformer, shards: Shards, block_size: int
) -> dict[str, tuple[float, int]]:
    """Return the mean loss in nats per token of each source's documents, and their number of
    tokens, over all non-overlapping windows. Weighted by tokens, the means give the total loss.
    """
    nats, tokens, _ = _sums_by_source(model, shards, block_size, None)
    return _means(shards, nats, tokens)


def losses_at_once(
    model: Transformer, shards: Shards, block_size: int, tokenizer: Tokenizer
) -> tuple[dict[str, float], dict[str, tuple[float, int]]]:
    """Return the figures of `loss_over` over all windows and those of `loss_by_source`, from a
    single pass.
    """
    nats, tokens, n_bytes = _sums_by_source(model, shards, block_size, _sizes(tokenizer))
    whole = float(nats.sum())
    figures = {
        "validation_loss": whole / int(tokens.sum()),
        "bits_per_byte": whole / math.log(2) / max(1, n_bytes),
    }
    return figures, _means(shards, nats, tokens)


@torch.inference_mode()
def _sums_by_source(
    model: Transformer, shards: Shards, block_size: int, sizes: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return nats and tokens of each source, (sources,) each, and the bytes of all targets, which
    are 0 without `sizes`.
    """
    device = next(model.parameters()).device
    count = len(shards.sources)
    nats, tokens = np.zeros(count), np.zeros(count, dtype=int)
    n_bytes = 0
    for numbers in spread(shards, block_size, at_most=None):
        batch = windows(shards, block_size, numbers)
        places = [np.arange(n * block_size + 1, (n + 1) * block_size + 1) for n in numbers]
        source = shards.sources_of(np.stack(places))  # (B, T), for each target
        hidden, targets = model.hidden(batch.inputs[0].to(device)), batch.targets.to(device)
        groups = torch.from_numpy(source).to(device)
        sums = cross_entropy_by_group(hidden, model.head.weight, targets, groups, count)
        nats += sums.cpu().double().numpy()
        tokens += np.bincount(source.flatten(), minlength=count)
        n_bytes += 0 if sizes is None else int(sizes[batch.targets.numpy()].sum())
    return nats, tokens, n_bytes


def _means(shards: Shards, nats: np.ndarray, tokens: np.ndarray) -> dict[str, tuple[float, int]]:
    return {
        name: (nats[i] / tokens[i], int(tokens[i]))
        for i, name in enumerate(shards.sources)
        if tokens[i]
    }


def _sizes(tokenizer: Tokenizer) -> np.ndarray:
    """Return the number of bytes of each token, (V,); <|endoftext|> has 0."""
    sizes = np.array([len(tokenizer.decode_bytes([i])) for i in range(tokenizer.n_vocab)])
    sizes[tokenizer.end_of_text] = 0
    return sizes
