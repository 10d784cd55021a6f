"""NEFTune: how large the noise is, where it is, and that a run with it can be resumed."""

import signal
from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from llmill.contract.errors import Stopped
from llmill.runner.stopping import Stop
from llmill.training.batches import Batch, Examples
from llmill.training.loop import fit
from llmill.training.losses import token_loss
from llmill.training.noise import bounds, noisy
from llmill.training.packing import collate_packed, row_length
from llmill.training.replay import ReplayedWindows
from tests.model.test_transformer import GPT2, MODERN
from tests.model.test_transformer import model as model_of
from tests.training.test_loop import SETTINGS, job, same, work

TEXTS = [([n + 1] * n, [n + 2] * n) for n in (4, 9, 1, 4, 5, 2, 8, 3)]


def rows(alpha: float | None) -> Examples:
    """The texts, one to a row, with noise of this strength for a model 16 numbers wide."""
    collate = collate_packed if alpha is None else noisy(collate_packed, alpha, 16)
    return Examples([[text] for text in TEXTS], collate, 4, 1, row_length)


def test_noise_is_as_large_as_alpha_by_the_root_of_a_texts_tokens_and_the_width():
    """5 / sqrt(4 * 16) = 0.625 in a text of four tokens, also beside another; 5 / sqrt(16) alone."""
    found = bounds([[TEXTS[0], TEXTS[2]], [TEXTS[3]]], alpha=5.0, width=16)
    assert found.tolist() == [[0.625] * 4 + [1.25], [0.625] * 4 + [0.0]]


@torch.inference_mode()
def test_embeddings_move_evenly_up_to_the_bound_and_not_in_padding():
    made = model_of(GPT2).train()
    noise = torch.tensor([[0.5] * 12, [0.25] * 6 + [0.0] * 6]).repeat(100, 1)
    idx = torch.zeros((200, 12), dtype=torch.long)
    view = made.view(idx)
    torch.manual_seed(1)
    moved = (made.enter(idx, view, noise) - made.enter(idx, view)).reshape(100, 2, 12, 16)
    assert moved[:, 0].abs().max() == pytest.approx(0.5, abs=1e-3)
    assert moved[:, 0].mean() == pytest.approx(0.0, abs=0.01)
    assert moved[:, 0].std() == pytest.approx(0.5 / 3**0.5, abs=0.01)  # of a uniform one
    assert moved[:, 1, :6].abs().max() == pytest.approx(0.25, abs=1e-3)
    assert moved[:, 1, 6:].abs().max() == 0.0


@torch.inference_mode()
def test_there_is_none_in_evaluation():
    batch = rows(5.0).get(0, 4)
    made = model_of(MODERN)
    assert batch.noise is not None
    assert torch.equal(token_loss(made, batch), token_loss(made, replace(batch, noise=None)))
    made.train()
    assert not torch.equal(token_loss(made, batch), token_loss(made, replace(batch, noise=None)))


def test_batches_without_it_are_what_they_were():
    plain = rows(None).get(0, 4)
    assert plain.noise is None
    moved = rows(5.0).get(0, 4)
    for one, other in zip(plain.inputs, moved.inputs, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(plain.targets, moved.targets)


class OldText:
    """Windows that are replayed."""

    def get(self, start: int, count: int) -> Batch:
        return Batch((torch.full((count, 3), 7),), torch.full((count, 3), 8), 3 * count, 3 * count)


class Stopping:
    """The rows, which send the process a signal when a step is asked for."""

    n = len(TEXTS)

    def __init__(self, stop: Stop, step: int):
        self.stop, self.step = stop, step

    def get(self, start: int, count: int) -> Batch:
        if start == 4 * self.step:
            self.stop.signum = signal.SIGTERM
        return rows(5.0).get(start, count)


def test_a_run_with_noise_is_resumed_bit_for_bit(tmp_path):
    whole, resumed, plain = (model_of(MODERN) for _ in range(3))
    curve = fit(whole, work(rows(5.0)), job(tmp_path / "whole"))
    made = job(tmp_path / "parts")
    with pytest.raises(Stopped):
        fit(model_of(MODERN), work(Stopping(made.stop, 5)), made)
    assert fit(resumed, work(rows(5.0)), job(tmp_path / "parts")) == curve
    assert same(whole, resumed)
    fit(plain, work(rows(None)), job(tmp_path / "plain"))
    assert not same(whole, plain)


def test_what_is_replayed_beside_is_read_without_noise(tmp_path):
    made, noise = model_of(MODERN), []
    made.register_forward_pre_hook(
        lambda _, inputs, named: noise.append("noise" in named), with_kwargs=True
    )
    two_steps = SETTINGS.model_copy(update={"max_steps": 2})
    replayed = ReplayedWindows(OldText(), Fraction(1), 2)
    fit(made, replace(work(rows(5.0), two_steps), replay=replayed), job(tmp_path))
    assert noise == [True, False, True, False]
