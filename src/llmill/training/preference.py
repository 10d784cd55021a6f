"""Learning from pairs of answers to one prompt, of which one was preferred: DPO (Rafailov et al.
2023, arXiv 2305.18290), SimPO (Meng et al. 2024, arXiv 2405.14734), and the loss of the chosen
answer beside either (Pang et al. 2024, arXiv 2404.19733).

A batch of P pairs is 2P rows: the chosen answers, then the rejected ones in the same order. Only
the tokens of the answers count. Log-probabilities are in nats.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmill.contract import runtime
from llmill.contract.hardware import Runtime
from llmill.model.cross_entropy import IGNORE
from llmill.training.batches import Batch, Example, at_once, collate_texts
from llmill.training.losses import Called, Loss
from llmill.training.settings import PreferenceLoss

AT_ONCE = 16  # pairs at most, where nothing is learnt


@dataclass(frozen=True)
class Pair:
    """A chosen and a rejected answer behind one prompt, and how likely each is to the reference."""

    chosen: Example
    rejected: Example
    reference: tuple[float, float] = (0.0, 0.0)  # log-probabilities of the two


def pair_length(pair: Pair) -> int:
    """Tokens of the longer text of a pair."""
    return max(len(pair.chosen[0]), len(pair.rejected[0]))


def answer_length(example: Example) -> int:
    """Tokens of the answer, with its end."""
    return sum(target != IGNORE for target in example[1])


def collate_pairs(pairs: Sequence[Pair]) -> Batch:
    """Pairs as one batch: inputs as of `collate_texts`, and the log-probabilities of the reference,
    (2P,). A pair weighs 1.
    """
    texts = collate_texts([pair.chosen for pair in pairs] + [pair.rejected for pair in pairs])
    chosen, rejected = zip(*(pair.reference for pair in pairs), strict=True)
    inputs = (*texts.inputs, torch.tensor([*chosen, *rejected]))
    return Batch(inputs, texts.targets, weight=len(pairs), tokens=texts.tokens)


def token_log_probabilities(model: Called, batch: Batch) -> Tensor:
    """Of each learnt token of the batch, (N,)."""
    ids, learnt = batch.inputs[:2]
    return -F.cross_entropy(model(ids, learnt).float(), batch.targets, reduction="none")


def log_probabilities(model: Called, batch: Batch) -> Tensor:
    """Of each row's learnt tokens together: (B,)."""
    nats, learnt = token_log_probabilities(model, batch), batch.inputs[1]
    return torch.zeros_like(learnt, dtype=nats.dtype).masked_scatter(learnt, nats).sum(dim=-1)


def rewards(likely: Tensor, batch: Batch, settings: PreferenceLoss) -> Tensor:
    """The rewards that a model's log-probabilities `likely` stand for, of each row: (2P,).

    DPO, equation 7: beta times what the model adds to the reference's. `reference_free`: to
    nothing. `length_normalised`: per token, as in SimPO, equation 4.
    """
    learnt, reference = batch.inputs[1:]
    gained = likely if settings.reference_free else likely - reference
    if settings.length_normalised:
        gained = gained / learnt.sum(dim=-1).clamp(min=1)
    return settings.beta * gained


def margins(rewarded: Tensor) -> Tensor:
    """By how much each chosen answer's reward is above the rejected one's: (2P,) to (P,)."""
    chosen, rejected = rewarded.chunk(2)
    return chosen - rejected


def loss_of(margin: Tensor, settings: PreferenceLoss) -> Tensor:
    """Nats that the preferences cost under Bradley and Terry's model, of each pair: (P,).

    A margin below `settings.margin` is as if it were wrong (SimPO, equation 5). With
    `label_smoothing` so large a share of the pairs is taken to be the wrong way round.
    """
    ahead, wrong = margin - settings.margin, settings.label_smoothing
    return -(1 - wrong) * F.logsigmoid(ahead) - wrong * F.logsigmoid(-ahead)


def preference_loss(settings: PreferenceLoss, chosen_weight: float = 0.0) -> Loss:
    """The loss of a batch of pairs, summed: what the preferences cost, and `chosen_weight` times
    what a token of the chosen answer costs, as in fine-tuning. What `measured` calls the loss is
    the former alone.
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
    """What a model makes of some pairs, (P,) each: the log-probabilities of their answers, by how
    much the chosen one's reward is ahead, and the loss.
    """

    chosen: Tensor
    rejected: Tensor
    margin: Tensor
    loss: Tensor


@torch.inference_mode()
def measured(
    model: nn.Module, pairs: Sequence[Pair], settings: PreferenceLoss, hardware: Runtime
) -> Measured:
    """Measure pairs in their order; equal models give equal numbers, to the last bit."""
    device, parts = next(model.parameters()).device, []
    size = at_once(AT_ONCE, 2 * max(map(pair_length, pairs), default=0))
    for start in range(0, len(pairs), size):
        batch = collate_pairs(pairs[start : start + size]).to(device)
        with runtime.autocast(hardware):
            likely = log_probabilities(model, batch)
        ahead = margins(rewards(likely, batch, settings))
        parts.append(torch.stack([*likely.chunk(2), ahead, loss_of(ahead, settings)]).cpu())
    return Measured(*torch.cat(parts, dim=-1))


def with_reference(
    reference: nn.Module,
    pairs: Sequence[Pair],
    settings: PreferenceLoss,
    hardware: Runtime,
    only: Sequence[int] | None = None,
) -> list[Pair]:
    """The pairs with what the reference makes of them, or of `only` those of these numbers; it is
    then needed no more.
    """
    numbers = range(len(pairs)) if only is None else only
    found = measured(reference, [pairs[n] for n in numbers], settings, hardware)
    known = list(pairs)
    for n, chosen, rejected in zip(
        numbers, found.chosen.tolist(), found.rejected.tolist(), strict=True
    ):
        known[n] = replace(pairs[n], reference=(chosen, rejected))
    return known


def n_ahead(differences: Tensor) -> float:
    """How many of these are above zero; one at zero, which prefers nothing, is half of one."""
    return float((differences > 0).sum() + 0.5 * (differences == 0).sum())
