"""The loss in chunks beside torch's own over all logits at once."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from llmill.model import cross_entropy as chunked
from llmill.model.cross_entropy import IGNORE, cross_entropy, cross_entropy_by_group


def example() -> tuple[Tensor, Tensor, Tensor]:
    """Hidden (3, 5, 8), head (11, 8), targets (3, 5) of which three are not learnt."""
    torch.manual_seed(1)
    targets = torch.randint(11, (3, 5))
    targets[0, :2] = targets[2, 4] = IGNORE
    return torch.randn(3, 5, 8, requires_grad=True), torch.randn(11, 8, requires_grad=True), targets


def at_once(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """The slow reference, in float64."""
    logits = hidden.double() @ weight.double().mT
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")


def gradients(loss, hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
    made = loss(hidden, weight, targets)
    return made.detach(), *torch.autograd.grad(made / 7, (hidden, weight))


@pytest.mark.parametrize("logits", [1, 22, 35, 10_000], ids=lambda n: f"{n} logits at once")
@pytest.mark.parametrize("multiple", [1, 64])
def test_loss_and_gradients_are_those_of_all_logits_at_once(monkeypatch, logits, multiple):
    monkeypatch.setattr(chunked, "LEAST", 1)
    monkeypatch.setitem(chunked.CHUNK, "cpu", logits)
    monkeypatch.setitem(chunked.ROUND, "cpu", multiple)
    expected = gradients(at_once, *example())
    for made, wanted in zip(gradients(cross_entropy, *example()), expected, strict=True):
        torch.testing.assert_close(made, wanted.to(made.dtype), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("learning", "chunks"), [(True, 3), (False, 600)])
def test_a_chunk_has_at_least_256_positions_when_learning(monkeypatch, learning, chunks):
    monkeypatch.setitem(chunked.CHUNK, "cpu", 11)  # logits of one position
    products, matmul = [], Tensor.__matmul__
    monkeypatch.setattr(Tensor, "__matmul__", lambda a, b: products.append(a.shape) or matmul(a, b))
    hidden, weight = torch.randn(600, 8, requires_grad=learning), torch.randn(11, 8)
    cross_entropy(hidden, weight, torch.zeros(600, dtype=torch.long))
    assert len(products) == chunks


def test_a_target_that_is_certain_costs_nothing_and_an_impossible_one_stays_finite():
    hidden, weight = torch.tensor([[200.0]]), torch.tensor([[1.0], [-1.0]])
    assert float(cross_entropy(hidden, weight, torch.tensor([0]))) == 0.0
    assert float(cross_entropy(hidden, weight, torch.tensor([1]))) == 400.0


def test_nothing_learnt_is_zero_with_gradients_of_zero():
    hidden, weight, targets = example()
    loss, *found = gradients(cross_entropy, hidden, weight, torch.full_like(targets, IGNORE))
    assert float(loss) == 0.0
    assert all(float(gradient.abs().max()) == 0.0 for gradient in found)


def test_a_head_that_is_not_learnt_gets_no_gradient_and_hidden_gets_its_own():
    hidden, weight, targets = example()
    (expected,) = torch.autograd.grad(cross_entropy(hidden, weight, targets), [hidden])
    loss = cross_entropy(hidden, weight.detach(), targets)
    assert [saved.shape for saved in loss.grad_fn.saved_tensors if saved is not None] == [(15, 8)]
    torch.testing.assert_close(*torch.autograd.grad(loss, [hidden]), expected)


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_without_gradients_only_the_loss_is_made(monkeypatch, without):
    hidden, weight, targets = example()
    monkeypatch.setattr(torch, "mm", lambda *_, **__: pytest.fail("a product for the gradient"))
    with without():
        loss = cross_entropy(hidden, weight, targets)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, at_once(hidden, weight, targets).float().detach())


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("multiple", [1, 64])
@pytest.mark.parametrize("positions", [1, 4, 100], ids=lambda n: f"{n} positions at once")
def test_the_loss_of_each_group_is_that_of_its_targets_alone(
    monkeypatch, positions, multiple, autocast
):
    hidden, weight, targets = example()
    monkeypatch.setitem(chunked.ROUND, "cpu", multiple)
    monkeypatch.setitem(chunked.CHUNK, "cpu", positions * max(11, multiple))
    groups = torch.tensor([0, 3, 1, 1, 3] * 3).view(3, 5)  # none is of group 2
    products, matmul = [], Tensor.__matmul__
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        alone = [
            cross_entropy(hidden, weight, targets.masked_fill(groups != each, IGNORE))
            for each in range(4)
        ]
        monkeypatch.setattr(
            Tensor, "__matmul__", lambda a, b: products.append(a.shape) or matmul(a, b)
        )
        by_group = cross_entropy_by_group(hidden, weight, targets, groups, 4)
    assert by_group.tolist() == [float(loss) for loss in alone]  # to the bit
    assert by_group[2] == 0.0
    assert len(products) == -(-15 // positions)  # the head is computed once


def test_autocast_makes_the_products_in_its_type_and_sums_in_float32():
    hidden, weight, targets = example()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = cross_entropy(hidden, weight, targets)
    assert loss.dtype == torch.float32
    rounded = at_once(hidden.bfloat16(), weight.bfloat16(), targets)
    torch.testing.assert_close(loss.double(), rounded, rtol=0.01, atol=0.0)
    by_hidden, by_weight = torch.autograd.grad(loss, (hidden, weight))
    assert by_hidden.dtype == by_weight.dtype == torch.float32
    _, hidden_wanted, weight_wanted = gradients(at_once, hidden, weight, targets)
    torch.testing.assert_close(by_hidden, 7 * hidden_wanted, rtol=0.05, atol=0.05)
    torch.testing.assert_close(by_weight, 7 * weight_wanted, rtol=0.05, atol=0.05)


def test_a_logit_that_is_not_finite_shows_in_the_loss():
    hidden, weight, targets = example()
    broken = weight.detach().clone()
    broken[3] = float("nan")
    assert cross_entropy(hidden, broken, targets).isnan()
