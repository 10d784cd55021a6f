"""Log-likelihood of continuations, and the batching that every evaluation shares.

Only inputs of equal length stand in one batch, so nothing is padded and no score depends on its
neighbours; an input that occurs again is computed once, so equal texts get equal scores.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from llmill.model.heads import ClassModel
from llmill.model.transformer import Transformer

Ids = Sequence[int]
Progress = Callable[[int, int], None]  # told how many are done, of how many


def in_silence(done: int, total: int) -> None:
    """Progress that nobody looks at."""


def equal_length_batches(
    rows: Sequence[Ids] | Sequence[Tensor], batch_size: int
) -> Iterator[list[int]]:
    """Numbers of rows in batches of equal length, shortest first, else in the order given."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    batch: list[int] = []
    for i in order:
        if batch and (len(batch) == batch_size or len(rows[i]) != len(rows[batch[0]])):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


@torch.inference_mode()
def head_outputs(
    model: nn.Module,
    rows: Sequence[Ids] | Sequence[Tensor],
    batch_size: int,
    progress: Progress = in_silence,
) -> Tensor:
    """What a class or score head says of each row of ids, or of what a classifier's frozen part
    made of one: (N, n_class), on the CPU, in order.
    """
    device = next(model.parameters()).device
    outputs = _outputs(model, rows, batch_size, device, progress)
    return torch.stack([output.float() for output in outputs])


@torch.no_grad()  # what is made in inference mode cannot be learnt from
def frozen_outputs(
    model: ClassModel, rows: Sequence[Ids], batch_size: int, progress: Progress = in_silence
) -> list[Tensor]:
    """What a classifier's frozen part makes of each row of ids, (T, C) or (C,), on the CPU."""
    device = next(model.parameters()).device
    return _outputs(model.below, rows, batch_size, device, progress)


def _outputs(
    call: Callable[[Tensor, Tensor], Tensor],
    rows: Sequence[Ids] | Sequence[Tensor],
    batch_size: int,
    device: torch.device,
    progress: Progress,
) -> list[Tensor]:
    """What is made of each row, in order, where rows of equal length go together."""
    done = 0
    outputs: list[Tensor] = [torch.empty(0)] * len(rows)
    for batch in equal_length_batches(rows, batch_size):
        together = [torch.as_tensor(rows[i]) for i in batch]
        x = torch.stack(together).to(device)  # (B, T) or (B, T, C)
        lengths = torch.full((len(batch),), x.size(1), device=device)
        for i, output in zip(batch, call(x, lengths).cpu(), strict=True):
            outputs[i] = output
        done += len(batch)
        progress(done, len(rows))
    return outputs


def continuation_logprobs(
    model: Transformer,
    pairs: Sequence[tuple[Ids, Ids]],
    batch_size: int,
    progress: Progress = in_silence,
) -> list[float]:
    """The sum of log-probabilities of each continuation's ids after its context, in nats.

    A context that does not fit before its continuation loses its left. A continuation longer than
    the window is scored in pieces of half a window, each after as much text before it as fits.
    """
    window = model.config.block_size
    pieces = [(i, piece) for i, pair in enumerate(pairs) for piece in _pieces(*pair, window)]
    targets_of: dict[tuple[int, ...], dict[tuple[int, ...], None]] = {}
    for _, (inputs, targets) in pieces:
        targets_of.setdefault(inputs, {})[targets] = None
    rows, done = list(targets_of), 0
    scores: dict[tuple[tuple[int, ...], tuple[int, ...]], float] = {}
    for batch in equal_length_batches(rows, batch_size):
        requests = [(b, targets) for b, i in enumerate(batch) for targets in targets_of[rows[i]]]
        summed = _sum_logprobs(model, [rows[i] for i in batch], requests)
        for (b, targets), value in zip(requests, summed, strict=True):
            scores[rows[batch[b]], targets] = value
        done += len(batch)
        progress(done, len(rows))
    sums = [0.0] * len(pairs)
    for i, piece in pieces:
        sums[i] += scores[piece]
    return sums


@torch.inference_mode()
def _sum_logprobs(
    model: Transformer, rows: Sequence[Ids], requests: Sequence[tuple[int, Ids]]
) -> list[float]:
    """Of each (row, targets): the summed log-probability of the targets at the row's end."""
    device = next(model.parameters()).device
    hidden = model.hidden(torch.tensor([list(row) for row in rows], device=device))  # (B, T, C)
    longest = max(len(targets) for _, targets in requests)
    logits = model.head(hidden[:, -longest:]).double()  # (B, longest, V)
    logprobs = logits.log_softmax(dim=-1).cpu()
    sums = []
    for row, targets in requests:
        places = torch.arange(longest - len(targets), longest)
        sums.append(float(logprobs[row, places, torch.tensor(targets)].sum()))
    return sums


def _pieces(
    context: Ids, continuation: Ids, window: int
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(model input, targets at its last positions) of each stretch that is scored in one pass."""
    if not context:
        raise ValueError("a continuation needs at least one id before it")
    text, start = tuple(context) + tuple(continuation), len(context)
    step = len(continuation) if len(continuation) <= window else max(1, window // 2)
    stretches = []
    for begin in range(start, len(text), max(1, step)):
        end = min(begin + step, len(text))
        stretches.append((text[max(0, end - 1 - window) : end - 1], text[begin:end]))
    return stretches
