"""Log-likelihoods of continuations, outputs of heads, and the batching of both.

A batch for a head has rows of equal length only. Therefore nothing is padded, and a score does not
depend on the other rows. Continuations are read as a tree: an input that occurs several times is
computed once, so equal texts get equal scores.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from llmill.contract.errors import UserError
from llmill.contract.progress import Progress, in_silence
from llmill.evaluation.inference import tree
from llmill.model.heads import ClassModel
from llmill.model.packed import packed
from llmill.model.transformer import Transformer

Ids = Sequence[int]


def equal_length_batches(
    rows: Sequence[Ids] | Sequence[Tensor], batch_size: int
) -> Iterator[list[int]]:
    """Yield batches of row numbers; all rows of a batch have equal length.

    Shorter rows come first. Rows of equal length keep their order.
    """
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
    """Return the outputs of a class or score head, (N, n_class), float32 on the CPU, in order.

    Each row holds token ids (T,), or the features from a classifier's frozen part.
    """
    device = next(model.parameters()).device
    outputs = _outputs(model, rows, batch_size, device, progress)
    return torch.stack([output.float() for output in outputs])


@torch.no_grad()  # autograd cannot use tensors that are made in inference mode
def frozen_outputs(
    model: ClassModel, rows: Sequence[Ids], batch_size: int, progress: Progress = in_silence
) -> list[Tensor]:
    """Return the features of each row of ids from a classifier's frozen part, (T, C) or (C,) each,
    on the CPU, in order.
    """
    device = next(model.parameters()).device
    return _outputs(model.below, rows, batch_size, device, progress)


def _outputs(
    call: Callable[[Tensor, Tensor], Tensor],
    rows: Sequence[Ids] | Sequence[Tensor],
    batch_size: int,
    device: torch.device,
    progress: Progress,
) -> list[Tensor]:
    """Apply `call` to batches of rows of equal length; return its outputs in the order of rows."""
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


@dataclass(frozen=True)
class LogLikelihood:
    """A continuation's log-likelihood in nats, and whether each of its ids is the most likely."""

    logprob: float
    greedy: bool


def continuation_logprobs(
    model: Transformer,
    pairs: Sequence[tuple[Ids, Ids]],
    batch_size: int,
    progress: Progress = in_silence,
) -> list[float]:
    """Return the log-likelihood in nats of each (context, continuation) pair's continuation."""
    return [scored.logprob for scored in continuations(model, pairs, batch_size, progress)]


@torch.inference_mode()
def continuations(
    model: Transformer,
    pairs: Sequence[tuple[Ids, Ids]],
    batch_size: int,
    progress: Progress = in_silence,
) -> list[LogLikelihood]:
    """Score each continuation after its context. Raise `UserError` if a score is NaN.

    A context that does not fit before its continuation is cut on the left. A continuation longer
    than the window is scored in pieces of half a window, each after as much preceding text as fits.
    A pass reads at most `batch_size` texts, and a beginning that they share only once.
    """
    pieces = [_pieces(*pair, model.config.block_size) for pair in pairs]
    targets_of: dict[tree.Text, dict[tree.Text, None]] = {}
    for inputs, targets in chain.from_iterable(pieces):
        targets_of.setdefault(inputs, {})[targets] = None
    texts, done = list(targets_of), 0
    ends = [max(map(len, targets_of[text])) // 4 for text in texts]
    scores: dict[tuple[tree.Text, tree.Text], LogLikelihood] = {}
    faster = packed(model, tree.TOKENS)
    for numbers, hidden, places in tree.read(faster, texts, ends, batch_size):
        logits = faster.head(hidden).float()  # (N, V)
        best, total = logits.argmax(dim=-1), logits.logsumexp(dim=-1)
        for i, place in zip(numbers, places, strict=True):
            for targets in targets_of[texts[i]]:
                ids = torch.from_numpy(tree.ids(targets)).to(place.device)
                at = place[len(place) - len(ids) :]
                logprob = float((logits[at, ids] - total[at]).double().sum())
                if math.isnan(logprob):
                    raise UserError(
                        "the model's log-likelihoods are not numbers (NaN): its weights or what "
                        "they make overflow; float32 in place of bfloat16 may help, or train again"
                    )
                scores[texts[i], targets] = LogLikelihood(logprob, bool((best[at] == ids).all()))
        done += len(numbers)
        progress(done, len(texts))
    found = [[scores[piece] for piece in each] for each in pieces]
    return [
        LogLikelihood(sum(x.logprob for x in each), all(x.greedy for x in each)) for each in found
    ]


def _pieces(context: Ids, continuation: Ids, window: int) -> list[tuple[tree.Text, tree.Text]]:
    """Split a continuation into pieces for one pass each; return (model input, targets at its last
    positions) of each.
    """
    if not context:
        raise ValueError("a continuation needs at least one id before it")
    text, start = [*context, *continuation], len(context)
    step = len(continuation) if len(continuation) <= window else max(1, window // 2)
    stretches = []
    for begin in range(start, len(text), max(1, step)):
        end = min(begin + step, len(text))
        inputs, targets = text[max(0, end - 1 - window) : end - 1], text[begin:end]
        stretches.append((tree.text(inputs), tree.text(targets)))
    return stretches
