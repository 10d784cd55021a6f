"""Products in eight bits against whole numbers by hand, and models made of them."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from llmill.contract.errors import UserError
from llmill.model import lora
from llmill.model.generate import Choice, Writer, generate
from llmill.model.int8 import Int8Linear, in_int8
from llmill.model.packed import FBGEMM
from llmill.model.settings import Adapter
from llmill.model.transformer import Transformer
from tests.model.test_transformer import BLOCKS, GPT2, LLAMA, MODERN, model

pytestmark = pytest.mark.skipif(
    torch.backends.quantized.engine not in FBGEMM, reason="this build of torch has no FBGEMM"
)
IDX = torch.arange(1, 13)[None]


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def by_hand(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """The product of each row, (N, in), with whole numbers up to 63 for it, others up to 63 for what
    these leave over, and up to 127 for each row of weights, (out, in), summed exactly: (N, out).
    """
    scale = np.abs(weight).max(axis=1, keepdims=True).astype(np.float32) / np.float32(127)
    whole = np.rint(weight / scale).astype(np.int64)
    rows = []
    for row in x:
        step = np.abs(row).max() / np.float32(63)
        coarse = np.rint(row / step)
        fine = np.rint((row / step - coarse) * 126)
        sums = whole @ coarse.astype(np.int64) + whole @ fine.astype(np.int64) / 126
        rows.append(sums * step * scale[:, 0])
    return np.stack(rows) + (0 if bias is None else bias)


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 70])
def test_a_product_is_that_of_whole_numbers_times_a_scale_a_row(rows, bias):
    torch.manual_seed(0)
    linear = nn.Linear(96, 40, bias=bias)
    linear.weight.data *= 10.0 ** random(40, 1)  # rows of all sizes
    x = 10.0 ** random(rows, 1) * random(rows, 96, seed=2)
    b = linear.bias.detach().numpy() if bias else None
    wanted = by_hand(x.numpy(), linear.weight.detach().numpy(), b)
    found = Int8Linear(linear)(x).detach().numpy()
    far = np.abs(found - wanted).max(axis=1) / np.abs(wanted).max(axis=1)
    # A number half way between two whole ones is rounded either way: one step of the finer ones.
    assert np.median(far) < 1e-6 and far.max() < 2e-4


def test_the_largest_numbers_do_not_overflow():
    linear = nn.Linear(64, 8, bias=False)
    linear.weight.data[:] = 2.0
    for sign in (1.0, -1.0):
        for rows in (1, 2):
            found = Int8Linear(linear)(torch.full((rows, 64), 3.0 * sign))
            torch.testing.assert_close(found, torch.full((rows, 8), 384.0 * sign))


def test_weights_are_whole_numbers_of_127_a_row_and_a_row_of_zeros_stays_one():
    linear = nn.Linear(3, 3, bias=False)
    linear.weight.data = torch.tensor([[12.7, 1.04, -6.0], [0.0, 0.0, 0.0], [-127.0, 0.4, 0.6]])
    made = Int8Linear(linear)
    wanted = torch.tensor([[12.7, 1.0, -6.0], [0.0, 0.0, 0.0], [-127.0, 0.0, 1.0]])
    torch.testing.assert_close(made.weight, wanted)
    assert made(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2
    assert made(torch.zeros(1, 3)).tolist() == [[0.0] * 3]


def test_a_row_does_not_depend_on_those_beside_it():
    made = Int8Linear(nn.Linear(64, 32))
    x = random(5, 64)
    alone = torch.cat([made(row[None]) for row in x])
    x_beside = torch.cat([x, 1000 * random(3, 64, seed=2)])
    torch.testing.assert_close(made(x_beside)[:5], made(x), rtol=0, atol=0)
    torch.testing.assert_close(alone, made(x), rtol=0, atol=1e-5)


def test_what_is_no_number_stays_none():
    made = Int8Linear(nn.Linear(8, 4))
    x = torch.ones(2, 8)
    x[0, 3] = torch.nan
    assert made(x).isfinite().all(dim=1).tolist() == [False, True]
    assert not made(x[:1]).isfinite().any()


class Slow(nn.Module):
    """`by_hand` in a layer's place."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight = linear.weight.detach().numpy()
        self.bias = None if linear.bias is None else linear.bias.detach().numpy()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = by_hand(x.detach().reshape(-1, x.size(-1)).numpy(), self.weight, self.bias)
        return torch.from_numpy(rows).float().view(*x.shape[:-1], -1)


def slow(made: Transformer) -> Transformer:
    """The model with every product by hand."""
    made = copy.deepcopy(made)
    for name, part in list(made.named_modules()):
        if isinstance(part, nn.Linear):
            made.set_submodule(name, Slow(part))
    return made


def rounded_by(one: Transformer, other: Transformer) -> float:
    """How far apart their logits are, as a standard deviation."""
    return (one(IDX) - other(IDX)).std().item()


@BLOCKS
def test_a_model_is_the_one_that_multiplies_by_hand(config):
    made = model(config)
    small = in_int8(made)
    assert sum(isinstance(part, Int8Linear) for part in small.modules()) == 4 * config.n_layer + 1
    rounding = rounded_by(small, made)
    assert 1e-4 < rounding / made(IDX).std().item() < 0.03
    # Where a number lies half way between two of the finer steps, either is taken.
    assert rounded_by(small, slow(made)) < 0.01 * rounding


def test_of_a_tied_model_the_head_alone_is_rounded():
    made = model(GPT2)
    small = in_int8(made)
    assert small.embedding.weight is made.embedding.weight
    assert made.head.weight is made.embedding.weight
    assert isinstance(small.head, Int8Linear) and isinstance(made.head, nn.Linear)


@BLOCKS
def test_texts_beside_one_another_become_what_each_becomes_alone(config):
    small = in_int8(model(config.model_copy(update={"block_size": 40})))
    prompts = [[5], [7, 8, 9, 10], [11, 3], list(range(1, 30))]
    settings = {"max_new_tokens": 9, "end_of_text": -1, "choice": Choice(temperature=0.7)}
    together = generate(small, prompts, **settings)
    alone = [generate(small, [ids], seed=seed, **settings)[0] for seed, ids in enumerate(prompts)]
    assert together == alone


def test_a_writer_packs_nothing_anew(monkeypatch):
    monkeypatch.setattr("llmill.model.packed.LARGE", 0)
    small = in_int8(model(LLAMA))
    writer = Writer(small)
    products = [part for part in small.modules() if isinstance(part, Int8Linear)]
    assert [part for part in writer.packed.modules() if isinstance(part, Int8Linear)] == products


def test_an_adapter_is_rounded_with_what_it_was_merged_into():
    made = model(MODERN)
    settings = Adapter(rank=2, alpha=4.0, rank_stabilised=False, targets="all", dropout=0.0)
    lora.add(made, settings)
    with torch.no_grad():
        for name, parameter in lora.trainable(made).items():
            parameter.copy_(0.3 * random(*parameter.shape, seed=len(name)))
    lora.merge(made)
    small = in_int8(made)
    assert rounded_by(small, slow(made)) < 0.01 * rounded_by(small, made)


def test_where_torch_has_no_fbgemm_one_line_says_so():
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "qnnpack"
    try:
        with pytest.raises(UserError, match=r"^int8: this build of torch has no FBGEMM \(qnnpack"):
            in_int8(model(MODERN))
    finally:
        torch.backends.quantized.engine = before


def test_weights_that_lie_elsewhere_are_refused():
    made = model(MODERN).to("meta")
    with pytest.raises(UserError, match=r"weight lies on meta; eight bits are for one CPU alone"):
        in_int8(made)
