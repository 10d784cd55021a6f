"""Learning from pairs of answers to the same prompt, one of which is preferred: DPO (Rafailov et
al. 2023, arXiv 2305.18290), SimPO (Meng et al. 2024, arXiv 2405.14734), and with either the loss of
the chosen answer (Pang et al. 2024, arXiv 2404.19733).

A batch of P pairs has 2P rows: the chosen answers, then the rejected ones in the same order. Only
the tokens of the answers count. Log-probabilities are in nats.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmill.contract.progress import Progress, in_silence
from llmill.model.cross_entropy import IGNORE
from llmill.training.batches import Batch, Example, at_once, collate_texts
from llmill.training.losses import Called, Loss
from llmill.training.settings import PreferenceLoss

AT_ONCE = 16  # most pairs per forward pass when nothing is trained


@dataclass(frozen=True)
class Pair:
    """A chosen and a rejected answer to one prompt, with the reference's log-probabilities."""

    chosen: Example
    rejected: Example
    reference: tuple[float, float] = (0.0, 0.0)  # log-probabilities of the two


def pair_length(pair: Pair) -> int:
    """Return the number of tokens of the longer text of a pair."""
    return max(len(pair.chosen[0]), len(pair.rejected[0]))


def answer_length(example: Example) -> int:
    """Return the number of tokens of the answer, including its end token."""
    return sum(target != IGNORE for target in example[1])


def prompt_of(pair: Pair) -> tuple[int, ...]:
    """Return the token ids before the answers."""
    ids, targets = pair.chosen
    return tuple(ids[: 1 + next(n for n, target in enumerate(targets) if target != IGNORE)])


def collate_pairs(pairs: Sequence[Pair]) -> Batch:
    """Collate P pairs. Inputs are those of `collate_texts` and the reference's log-probabilities,
    (2P,). A pair has weight 1.
    """
    texts = collate_texts([pair.chosen for pair in pairs] + [pair.rejected for pair in pairs])
    chosen, rejected = zip(*(pair.reference for pair in pairs), strict=True)
    inputs = (*texts.inputs, torch.tensor([*chosen, *rejected]))
    return Batch(inputs, texts.targets, weight=len(pairs), tokens=texts.tokens)


def token_log_probabilities(model: Called, batch: Batch) -> Tensor:
    """Return the log-probability of each target of the batch, (N,)."""
    ids, learnt = batch.inputs[:2]
    return -F.cross_entropy(model(ids, learnt).float(), batch.targets, reduction="none")


def log_probabilities(model: Called, batch: Batch) -> Tensor:
    """Return the sum of the log-probabilities of each row's targets, (B,)."""
    nats, learnt = token_log_probabilities(model, batch), batch.inputs[1]
    return torch.zeros_like(learnt, dtype=nats.dtype).masked_scatter(learnt, nats).sum(dim=-1)


def rewards(likely: Tensor, batch: Batch, settings: PreferenceLoss) -> Tensor:
    """Return the reward of each row, (2P,), from a model's log-probabilities `likely`, (2P,).

    As in DPO, equation 7, the reward is beta times the gain over the reference's log-probability.
    With `reference_free` nothing is subtracted. With `length_normalised` the gain is divided by the
    number of tokens, as in SimPO, equation 4.
    """
    learnt, reference = batch.inputs[1:]
    gained = likely if settings.reference_free else likely - reference
    if settings.length_normalised:
        gained = gained / learnt.sum(dim=-1).clamp(min=1)
    return settings.beta * gained


def margins(rewarded: Tensor) -> Tensor:
    """Return by how much each chosen answer's reward exceeds the rejected one's: (2P,) to (P,)."""
    chosen, rejected = rewarded.chunk(2)
    return chosen - rejected


def loss_of(margin: Tensor, settings: PreferenceLoss) -> Tensor:
    """Return the loss of each pair in nats under Bradley and Terry's model, (P,), from margins,
    (P,).

    A margin below `settings.margin` counts as wrong (SimPO, equation 5). `label_smoothing` is the
    share of the pairs that is assumed to be the wrong way round.
    """
    ahead, wrong = margin - settings.margin, settings.label_smoothing
    return -(1 - wrong) * F.logsigmoid(ahead) - wrong * F.logsigmoid(-ahead)


def preference_loss(settings: PreferenceLoss, chosen_weight: float = 0.0) -> Loss:
    """Return the summed loss of a batch of pairs: the preference loss, plus `chosen_weight` times
    the mean loss per token of the chosen answer, as in fine-tuning. The loss in `measured` is only
    the former.
    """

    def loss(model: Called, batch: Batch) -> Tensor:
        likely = log_probabilities(model, batch)
        cost = loss_of(margins(rewards(likely, batch, settings)), settings)
        if chosen_weight:
            chosen, tokens = likely.chunk(2)[0], batch.inputs[1].sum(dim=-1).chunk(2)[0]
            cost = cost - chosen_weight * chosen / tokens.clamp(min=1)
        return cost.sum()

    return loss


@dataclass(frozen=True)
class Measured:
    """Figures of a model for P pairs, (P,) each: the log-probabilities of the answers, the margin
    of the chosen answer's reward, and the preference loss.
    """

    chosen: Tensor
    rejected: Tensor
    margin: Tensor
    loss: Tensor


@torch.inference_mode()
def measured(
    model: nn.Module,
    pairs: Sequence[Pair],
    settings: PreferenceLoss,
    progress: Progress = in_silence,
) -> Measured:
    """Measure pairs in their order. Equal models give bit-identical numbers."""
    device, parts = next(model.parameters()).device, []
    size = at_once(AT_ONCE, 2 * max(map(pair_length, pairs), default=0))
    for start in range(0, len(pairs), size):
        batch = collate_pairs(pairs[start : start + size]).to(device)
        likely = log_probabilities(model, batch)
        ahead = margins(rewards(likely, batch, settings))
        parts.append(torch.stack([*likely.chunk(2), ahead, loss_of(ahead, settings)]).cpu())
        progress(min(start + size, len(pairs)), len(pairs))
    return Measured(*torch.cat(parts, dim=-1))


def with_reference(
    reference: nn.Module,
    pairs: Sequence[Pair],
    settings: PreferenceLoss,
    only: Sequence[int] | None = None,
    progress: Progress = in_silence,
) -> list[Pair]:
    """Return the pairs with the reference's log-probabilities, or set these only for the pairs of
    the numbers `only`. Afterwards the reference model is no longer needed.
    """
    numbers = range(len(pairs)) if only is None else only
    found = measured(reference, [pairs[n] for n in numbers], settings, progress)
    known = list(pairs)
    for n, chosen, rejected in zip(
        numbers, found.chosen.tolist(), found.rejected.tolist(), strict=True
    ):
        known[n] = replace(pairs[n], reference=(chosen, rejected))
    return known


def ahead(differences: Tensor) -> Tensor:
    """Return 1 for each difference, (P,), above zero and 0 for each below. A difference of zero
    counts as half, because it prefers neither answer.
    """
    return (differences > 0) + 0.5 * (differences == 0)
