"""Rotary positions in few operations, against those in many."""

import torch

from llmill.model.quick_rotary import QuickRotary, replace_rotary
from llmill.model.transformer import Rotary
from tests.model.test_transformer import GPT2, LLAMA, model


def test_the_same_turns_from_zero_and_at_any_places():
    rotary = Rotary(LLAMA)
    quick = QuickRotary(rotary)
    x = torch.randn(2, 3, 4, 8, generator=torch.Generator().manual_seed(1))
    first, second = torch.tensor([[0, 0, 1, 2], [5, 6, 7, 8]]), torch.tensor([[1, 2, 3, 4]] * 2)
    for places in (None, first, first, second, None, first):
        torch.testing.assert_close(quick(x, places), rotary(x, places), rtol=0, atol=1e-6)


def test_all_blocks_have_one_and_a_model_without_rotary_positions_none():
    made = model(LLAMA)
    before = made(torch.tensor([[3, 1, 4]]))
    replace_rotary(made)
    assert len({block.attention.rotary for block in made.blocks}) == 1
    assert not any(isinstance(part, Rotary) for part in made.modules())
    torch.testing.assert_close(made(torch.tensor([[3, 1, 4]])), before)
    learned = model(GPT2)
    replace_rotary(learned)
    assert all(block.attention.rotary is None for block in learned.blocks)
