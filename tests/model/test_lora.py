"""Low-rank adapters: the change of a matrix by hand, what is learnt, merging, and peft's own."""

from pathlib import Path

import pytest
import torch
from torch import nn

from llmill.contract.errors import UserError
from llmill.model import lora
from llmill.model.heads import ClassModel, ScoreModel
from llmill.model.settings import Adapter
from llmill.training.optimizer import build
from tests.model.test_transformer import BLOCKS, GPT2, LLAMA, MODERN, model
from tests.training.test_optimizer import MUON

IDX = torch.tensor([[3, 7, 9, 4, 1]])
EVERY = Adapter(rank=2, alpha=4.0, rank_stabilised=False, targets="all", dropout=0.0)
DORA = EVERY.model_copy(update={"dora": True})
HOW = pytest.mark.parametrize("how", [EVERY, DORA], ids=["lora", "dora"])


def settings(**changed: object) -> Adapter:
    return Adapter(**EVERY.model_dump() | changed)


def learnt(made: nn.Module, seed: int = 1) -> None:
    """Numbers in place of the zeros that an adapter begins with."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in lora.trainable(made).items():
            if lora.ADAPTERS in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draws))


def test_a_layer_adds_alpha_over_rank_times_b_a_to_its_matrix():
    layer = nn.Linear(2, 3, bias=False)
    layer.weight = nn.Parameter(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    adapted = lora.AdaptedLinear(
        layer, {"query": 1, "key": 1, "value": 1}, settings(rank=1, targets=["query", "value"])
    )
    query, value = adapted.adapters["query"], adapted.adapters["value"]
    query.a.data, query.b.data = torch.tensor([[1.0, 2.0]]), torch.tensor([[10.0]])
    value.a.data, value.b.data = torch.tensor([[3.0, 0.0]]), torch.tensor([[100.0]])
    # of x = (1, 1), with alpha / rank = 4: 1 + 4 * 10 * 3, 1, 2 + 4 * 100 * 3
    assert adapted(torch.tensor([1.0, 1.0])).tolist() == [121.0, 1.0, 1202.0]
    assert adapted.merged().weight.tolist() == [[41.0, 80.0], [0.0, 1.0], [1201.0, 1.0]]


def test_with_dora_each_row_of_the_sum_has_the_length_that_is_learnt():
    layer = nn.Linear(2, 3, bias=False)
    layer.weight = nn.Parameter(torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]]))
    rows = {"query": 2, "value": 1}
    adapted = lora.AdaptedLinear(layer, rows, settings(rank=1, alpha=1.0, dora=True))
    query, value = adapted.adapters["query"], adapted.adapters["value"]
    assert (query.magnitude.tolist(), value.magnitude.tolist()) == ([5.0, 1.0], [0.0])
    query.a.data, query.b.data = torch.tensor([[0.0, 1.0]]), torch.tensor([[-4.0], [1.0]])
    query.magnitude.data = torch.tensor([6.0, 2.0])
    # The rows (3, 0) and (1, 1), of length 6 and 2; one of zeros stays.
    root = 2**0.5
    wanted = torch.tensor([[6.0, 0.0], [root, root], [0.0, 0.0]])
    torch.testing.assert_close(adapted.merged().weight, wanted)
    x = torch.tensor([1.0, 10.0])
    torch.testing.assert_close(adapted(x), wanted @ x)


def test_rank_stabilised_divides_by_the_root_of_the_rank():
    assert settings(rank=16, alpha=32.0).scale == 2.0
    assert settings(rank=16, alpha=32.0, rank_stabilised=True).scale == 8.0


@BLOCKS
@HOW
def test_a_new_adapter_changes_no_logit(config, how):
    made = model(config)
    before = made(IDX)
    lora.add(made, how)
    assert torch.equal(made(IDX), before)


@BLOCKS
@HOW
def test_merged_and_unmerged_give_the_same_logits(config, how):
    made = model(config)
    before, names = made(IDX), made.state_dict().keys()
    lora.add(made, how)
    learnt(made)
    apart = made(IDX)
    lora.merge(made)
    torch.testing.assert_close(made(IDX), apart, rtol=0, atol=1e-5)
    assert not torch.allclose(apart, before, atol=0.01)
    assert made.state_dict().keys() == names


@BLOCKS
def test_an_adapted_model_is_the_plain_one_with_its_matrices_changed_by_hand(config):
    """Slow reference: W + alpha / rank * B A, written into the rows of each target."""
    adapted, plain = model(config), model(config)
    lora.add(adapted, EVERY)
    learnt(adapted)
    with torch.no_grad():
        for i, block in enumerate(plain.blocks):
            learning = adapted.blocks[i]
            for name, order in (
                ("attention.qkv", ("query", "key", "value")),
                ("attention.out", ("out",)),
                ("mlp.up", ("gate", "up") if config.mlp == "swiglu" else ("up",)),
                ("mlp.down", ("down",)),
            ):
                parts = [learning.get_submodule(f"{name}.adapters.{each}") for each in order]
                change = torch.cat([4.0 / 2 * part.b @ part.a for part in parts])
                block.get_submodule(name).weight += change
    torch.testing.assert_close(adapted(IDX), plain(IDX), rtol=0, atol=1e-5)


def test_only_the_named_targets_are_adapted():
    made = model(LLAMA)
    lora.add(made, settings(targets=["query", "down"]))
    shapes = {name: tuple(p.shape) for name, p in lora.trainable(made).items()}
    assert shapes == {
        f"blocks.{i}.{name}": shape
        for i in (0, 1)
        for name, shape in {
            "attention.qkv.adapters.query.a": (2, 16),
            "attention.qkv.adapters.query.b": (16, 2),
            "mlp.down.adapters.down.a": (2, 64),
            "mlp.down.adapters.down.b": (16, 2),
        }.items()
    }


def test_a_target_that_the_model_does_not_have_is_refused_with_those_it_has():
    with pytest.raises(UserError) as refused:
        lora.add(model(GPT2), settings(targets=["query", "gate"]))
    assert str(refused.value) == (
        "adapter.targets: gate names nothing in this model; it has query, key, value, out, up, "
        "down, or all of them"
    )


def test_a_new_head_is_learnt_whole_beside_the_adapters():
    classifier, judge = ClassModel(model(GPT2), 3), ScoreModel(model(GPT2))
    for made, heads in (
        (classifier, {"head.weight"}),
        (
            judge,
            {f"{layer}.{part}" for layer in ("pool", "mix", "head") for part in ("weight", "bias")},
        ),
    ):
        lora.add(made, EVERY)
        names = lora.trainable(made).keys()
        assert {name for name in names if lora.ADAPTERS not in name} == heads
        assert all(name.startswith("body.") for name in names - heads)


def test_muon_leaves_adapters_to_adamw():
    made = model(MODERN)
    lora.add(made, EVERY)
    (adamw,) = build(made, MUON)
    (group,) = adamw.param_groups
    assert sum(p.numel() for p in group["params"]) == sum(
        p.numel() for p in lora.trainable(made).values()
    )


def test_dropout_hides_numbers_from_an_adapter_in_training_alone():
    made = model(GPT2)
    lora.add(made, settings(dropout=0.5))
    learnt(made)
    still = made(IDX)
    assert torch.equal(made(IDX), still)
    made.train()
    torch.manual_seed(0)
    assert not torch.allclose(made(IDX), still)


def test_the_change_of_one_model_leaves_another_with_the_same_weights_alone():
    """As served: several adapters on one foundation."""
    foundation, made = model(LLAMA), model(LLAMA)
    layer = foundation.blocks[0].mlp.down
    made.blocks[0].set_submodule("mlp.down", layer)
    lora.add(made, EVERY)
    learnt(made)
    assert made.blocks[0].mlp.down.weight is layer.weight
    before = layer.weight.clone()
    lora.merge(made)
    assert torch.equal(layer.weight, before)


def test_a_stored_adapter_put_on_its_foundation_is_the_trained_model():
    made, again = ClassModel(model(LLAMA), 2), ClassModel(model(LLAMA), 2)
    lora.add(made, EVERY)
    learnt(made)
    stored = lora.taken(made, EVERY, Path("foundation"))
    lora.restore(again, stored)
    lora.merge(again)
    lengths = torch.tensor([5])
    assert torch.equal(again(IDX, lengths), made(IDX, lengths))
    assert lora.taken(made, None, Path("foundation")) is None
