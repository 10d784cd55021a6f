"""Muon against its arithmetic written out one matrix at a time, whole and sharded."""

import copy
import math
import re
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import distribute_tensor

from llmill.training import muon
from llmill.training.muon import Muon, orthogonalised

SHAPES = [(8, 8), (8, 32), (32, 8), (24, 8), (8, 10), (10, 8), (8, 32), (1, 5), (5, 1)]
SETTINGS = {"lr": 0.02, "weight_decay": 0.1}


def parameters(shapes=SHAPES) -> list[nn.Parameter]:
    random = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=random)) for shape in shapes]


def gradients(step: int, shapes=SHAPES) -> list[Tensor]:
    random = torch.Generator().manual_seed(1 + step)
    return [torch.randn(shape, generator=random) for shape in shapes]


def train(optimizer: torch.optim.Optimizer, steps: range) -> None:
    params = optimizer.param_groups[0]["params"]
    for step in steps:
        for p, grad in zip(params, gradients(step, [p.shape for p in params]), strict=True):
            p.grad = grad
        optimizer.step()


def matrices(values: Tensor, cols: int) -> Tensor:
    """Two matrices (rows, cols) with these singular values."""
    random = torch.Generator().manual_seed(0)
    rows = len(values)
    left, _ = torch.linalg.qr(torch.randn(2, rows, rows, generator=random))
    right, _ = torch.linalg.qr(torch.randn(2, cols, rows, generator=random))
    return left @ (values[:, None] * right.mT)


def quintic(x: Tensor, steps: int = 5) -> Tensor:
    """The iteration of Jordan 2024 on one matrix."""
    x = x / max(float(x.norm()), 1e-7)
    for _ in range(steps):
        x = 3.4445 * x - 4.7750 * x @ x.T @ x + 2.0315 * x @ x.T @ x @ x.T @ x
    return x


def slow_step(p: Tensor, grad: Tensor, momentum: Tensor, nesterov: bool) -> tuple[Tensor, Tensor]:
    """One matrix and its momentum after a step, in float64."""
    rows, cols = p.shape
    momentum = 0.95 * momentum + 0.05 * grad
    direction = 0.05 * grad + 0.95 * momentum if nesterov else momentum
    rate = 0.02 * math.sqrt(max(1, rows / cols))
    return p - 0.02 * 0.1 * p - rate * quintic(direction), momentum


@pytest.mark.parametrize("nesterov", [True, False])
def test_steps_equal_the_arithmetic_written_out_one_matrix_at_a_time(nesterov):
    params = parameters()
    slow = [(p.detach().double(), torch.zeros_like(p).double()) for p in params]
    train(Muon(params, **SETTINGS, nesterov=nesterov), range(4))
    for step in range(4):
        grads = [g.double() for g in gradients(step)]
        slow = [slow_step(p, g, m, nesterov) for (p, m), g in zip(slow, grads, strict=True)]
    for p, (expected, _) in zip(params, slow, strict=True):
        torch.testing.assert_close(p.detach(), expected.float(), rtol=0, atol=1e-5)


def test_a_number_moves_by_the_rate_times_the_quintic_iterated_from_one():
    number = nn.Parameter(torch.tensor([[3.0]]))
    number.grad = torch.tensor([[-7.0]])
    Muon([number], lr=0.1, weight_decay=0.0).step()
    assert number.item() == pytest.approx(3 + 0.1 * 0.69643641)


def test_a_column_of_four_moves_by_twice_the_rate_and_a_row_by_the_rate():
    column, row = nn.Parameter(torch.zeros(4, 1)), nn.Parameter(torch.zeros(1, 4))
    column.grad = torch.tensor([[0.0], [5.0], [0.0], [0.0]])
    row.grad = torch.tensor([[0.0, 0.0, 5.0, 0.0]])
    Muon([column, row], lr=0.1, weight_decay=0.0).step()
    assert column.flatten().tolist() == pytest.approx([0, -0.139287282, 0, 0])
    assert row.flatten().tolist() == pytest.approx([0, 0, -0.069643641, 0])


@pytest.mark.parametrize("cols", [16, 20, 64])
def test_singular_values_are_drawn_towards_one(cols):
    given = matrices(torch.linspace(0.05, 1, 16), cols)
    values = torch.linalg.svdvals(orthogonalised(given, 5))
    assert values.min() > 0.5
    assert values.max() < 1.3


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_both_forms_of_the_iteration_agree_for_singular_values_down_to_a_millionth(steps):
    given = matrices(torch.logspace(-6, -0.5, 16), 64)
    one, other = muon._newton_schulz(given, steps), muon._newton_schulz_small(given, steps)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_a_zero_gradient_only_decays():
    still = nn.Parameter(torch.full((2, 3), 5.0))
    still.grad = torch.zeros(2, 3)
    Muon([still], lr=0.1, weight_decay=0.5).step()
    assert still.tolist() == [[4.75] * 3] * 2


def test_a_parameter_without_gradient_is_left_alone():
    moved, still = parameters([(4, 4), (4, 4)])
    before = still.detach().clone()
    moved.grad = torch.ones(4, 4)
    optimizer = Muon([moved, still], **SETTINGS)
    optimizer.step()
    assert torch.equal(still, before)
    assert list(optimizer.state) == [moved]


def test_batches_are_of_one_shape_and_of_limited_size(monkeypatch):
    monkeypatch.setattr(muon, "BATCH_NUMBERS", 100)
    given = parameters([(4, 10), (10, 4), (4, 10), (4, 10), (11, 11), (10, 4), (11, 11)])
    shapes = [[tuple(p.shape) for p in batch] for batch in muon._batches(given)]
    assert shapes == [[(4, 10)] * 2, [(4, 10)], [(10, 4)] * 2, [(11, 11)], [(11, 11)]]


def test_a_state_dict_continues_bit_for_bit():
    whole, first = Muon(parameters(), **SETTINGS), Muon(parameters(), **SETTINGS)
    train(whole, range(4))
    train(first, range(2))
    second = Muon(
        [p.detach().clone() for p in first.param_groups[0]["params"]], lr=1, weight_decay=0
    )
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    train(second, range(2, 4))
    assert_same(second, whole)


def test_the_state_of_a_distributed_checkpoint_continues_bit_for_bit():
    saved, fresh = nn.Linear(8, 16, bias=False), nn.Linear(8, 16, bias=False)
    first, second = Muon(saved.parameters(), **SETTINGS), Muon(fresh.parameters(), **SETTINGS)
    train(first, range(2))
    state = get_optimizer_state_dict(saved, first)
    assert list(state["state"]["weight"]) == ["momentum_buffer"]
    set_optimizer_state_dict(fresh, second, copy.deepcopy(state))
    fresh.load_state_dict(saved.state_dict())
    train(first, range(2, 4))
    train(second, range(2, 4))
    assert_same(second, first)


def test_initialising_the_state_for_a_checkpoint_moves_nothing():
    model = nn.Linear(8, 16, bias=False)
    before = model.weight.detach().clone()
    get_optimizer_state_dict(model, Muon(model.parameters(), **SETTINGS))
    assert torch.equal(model.weight, before)


def test_a_group_keeps_its_own_rate():
    fast, slow = nn.Parameter(torch.zeros(1, 1)), nn.Parameter(torch.zeros(1, 1))
    fast.grad = slow.grad = torch.ones(1, 1)
    groups = [{"params": [fast], "lr": 0.2}, {"params": [slow]}]
    Muon(groups, lr=0.1, weight_decay=0.0).step()
    assert fast.item() == pytest.approx(-0.139287282)
    assert slow.item() == pytest.approx(-0.069643641)


def test_a_closure_is_run_with_gradients_and_its_value_returned():
    (p,) = parameters([(4, 4)])
    optimizer = Muon([p], **SETTINGS)

    def closure() -> float:
        (p * p).sum().backward()
        return 7.0

    assert optimizer.step(closure) == 7.0
    assert p.grad is not None


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4)])
def test_only_matrices_are_accepted(shape):
    with pytest.raises(ValueError, match=re.escape(str(shape))):
        Muon([nn.Parameter(torch.zeros(shape))], **SETTINGS)


def test_matrices_sharded_over_two_processes_move_as_whole_ones(tmp_path):
    mp.spawn(assert_sharded_equal_whole, (2, tmp_path / "meet"), nprocs=2)


def assert_sharded_equal_whole(rank: int, processes: int, meet: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{meet}", rank=rank, world_size=processes)
    whole = layers()
    sharded = fully_shard(layers())
    plain, split = (Muon(model.parameters(), **SETTINGS) for model in (whole, sharded))
    for step in range(3):
        grads = gradients(step, [p.shape for p in whole.parameters()])
        for p, q, grad in zip(whole.parameters(), sharded.parameters(), grads, strict=True):
            p.grad = grad
            q.grad = distribute_tensor(grad, q.device_mesh, q.placements, src_data_rank=None)
        plain.step()
        split.step()
    for p, q in zip(whole.parameters(), sharded.parameters(), strict=True):
        assert q.to_local().shape[0] < p.shape[0]
        assert torch.equal(p, q.full_tensor())
        buffer = split.state[q]["momentum_buffer"]
        assert torch.equal(plain.state[p]["momentum_buffer"], buffer.full_tensor())
    dist.destroy_process_group()


def layers() -> nn.Module:
    """Wide and tall matrices, and one whose rows no two processes can share evenly."""
    torch.manual_seed(0)
    sizes = [(8, 32), (32, 8), (8, 5), (5, 8)]
    return nn.Sequential(*(nn.Linear(*size, bias=False) for size in sizes))


def assert_same(one: Muon, other: Muon) -> None:
    pairs = zip(one.param_groups[0]["params"], other.param_groups[0]["params"], strict=True)
    for p, q in pairs:
        assert torch.equal(p, q)
        assert torch.equal(one.state[p]["momentum_buffer"], other.state[q]["momentum_buffer"])
