"""Which parameter goes to which optimizer, with which decay."""

from llmill.training.optimizer import build, set_rate
from llmill.training.settings import Optimizer
from tests.model.test_transformer import GPT2, model

MUON = Optimizer(kind="muon", lr=0.01, muon_lr=0.02, weight_decay=0.1, betas=[0.9, 0.95])


def count(group) -> int:
    return sum(p.numel() for p in group["params"])


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_the_rest():
    made = model(GPT2)
    muon, adamw = build(made, MUON)
    matrices = 2 * 12 * 16 * 16
    assert count(muon.param_groups[0]) == matrices
    total = sum(p.numel() for p in made.parameters())
    assert sum(count(g) for g in adamw.param_groups) == total - matrices


def test_adamw_decays_matrices_and_no_bias_or_norm():
    (adamw,) = build(model(GPT2), MUON.model_copy(update={"kind": "adamw"}))
    decayed, plain = adamw.param_groups
    assert decayed["weight_decay"] == 0.1
    assert plain["weight_decay"] == 0.0
    assert all(p.dim() == 2 for p in decayed["params"])
    assert all(p.dim() == 1 for p in plain["params"])


def test_muon_decays_the_matrices_too():
    muon, _ = build(model(GPT2), MUON)
    assert muon.param_groups[0]["weight_decay"] == 0.1


def test_rates_are_multiples_of_each_groups_peak():
    muon, adamw = build(model(GPT2), MUON)
    set_rate([muon, adamw], 0.5)
    set_rate([muon, adamw], 0.25)
    assert muon.param_groups[0]["lr"] == 0.005
    assert adamw.param_groups[0]["lr"] == 0.0025


def test_frozen_parameters_are_left_out():
    made = model(GPT2)
    made.requires_grad_(False)
    made.norm.requires_grad_(True)
    (adamw,) = build(made, MUON)
    assert sum(count(g) for g in adamw.param_groups) == 32
