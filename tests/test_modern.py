"""The benchmark of what speedruns found: each finding changes what it names and nothing else."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from llmill import presets
from llmill.contract.hardware import Runtime
from llmill.model.transformer import Transformer
from llmill.training.muon import Muon
from tests.conftest import ROOT

BENCHMARKS = str(ROOT / "benchmarks")
sys.path.insert(0, BENCHMARKS)  # as if they ran as scripts
import additions  # noqa: E402
import engine  # noqa: E402
import modern  # noqa: E402

sys.path.remove(BENCHMARKS)

SMOKE = presets.load("smoke")
PRESET = SMOKE.model_copy(
    update={"pretrain": SMOKE.pretrain.model_copy(update={"shorten_rows": [4, 2, 1]})}
)
SHAPE = PRESET.model
VOCAB, STEPS, SEED = 64, 6, 3


@pytest.fixture(scope="module")
def bench():
    ids = np.random.default_rng(0).integers(0, VOCAB, 20_000).astype(np.uint16)
    shards = engine.sequence(ids, VOCAB)
    return modern.Bench(PRESET, shards, shards, None, PRESET.pretrain.threads)


@pytest.fixture(scope="module")
def presets_own(bench):
    return weights(bench.trained(modern.FINDINGS[modern.PRESET], STEPS, SEED))


def tokens(rows=2, columns=16):
    ids = torch.randint(0, VOCAB, (rows, columns + 1), generator=torch.Generator().manual_seed(1))
    return ids[:, :-1], ids[:, 1:]


def weights(model):
    return dict(model.named_parameters())


def with_and_without(**changes):
    """Two models of one seed, whose output projections are not zero."""
    models = []
    for make in (
        lambda: Transformer(SHAPE, VOCAB),
        lambda: additions.Varied(SHAPE, VOCAB, additions.Additions(**changes)),
    ):
        torch.manual_seed(SEED)
        models.append(make().eval())
    torch.manual_seed(SEED)
    for plain, varied in zip(models[0].blocks, models[1].blocks, strict=True):
        for linear, same in (
            (plain.attention.out, varied.attention.inner.out),
            (plain.mlp.down, varied.mlp.down),
        ):
            torch.nn.init.normal_(linear.weight, std=0.1)
            same.load_state_dict(linear.state_dict())
    return models


def test_the_presets_recipe_is_the_one_that_llmill_trains(bench, presets_own):
    kept = PRESET.pretrain.training
    settings = engine.settings(STEPS, kept.batch_size, kept.optimizer, kept.schedule)
    recipe = engine.Recipe(SHAPE, settings, PRESET.pretrain.shorten_rows)
    hardware, threads = Runtime(device="cpu", dtype="float32"), PRESET.pretrain.threads
    model, _ = engine.trained(recipe, bench.train, hardware, threads, SEED)
    assert all(torch.equal(presets_own[name], w) for name, w in weights(model).items())


# A mean of one step's weights is no other weights: it has a test of its own.
CHANGED = [
    name for name in modern.FINDINGS if name not in (modern.PRESET, "mean of the last tenth")
]


@pytest.mark.parametrize("name", CHANGED)
def test_each_finding_ends_in_weights_of_its_own(name, bench, presets_own):
    of_head = bench.trained(modern.FINDINGS[name], STEPS, SEED).head.weight
    assert torch.isfinite(of_head).all()
    assert not torch.equal(of_head, presets_own["head.weight"])


@pytest.mark.parametrize("addition", ["qk_gain", "first_stream", "smear"])
def test_an_addition_that_is_learnt_begins_with_the_presets_logits(addition):
    plain, varied = with_and_without(**{addition: True})
    ids, _ = tokens()
    assert torch.allclose(varied(ids), plain(ids), atol=1e-6)


def test_gates_begin_half_open():
    plain, varied = with_and_without(head_gates=True)
    for block in plain.blocks:
        block.attention.out.weight.data *= 0.5
    ids, _ = tokens()
    assert torch.allclose(varied(ids), plain(ids), atol=1e-6)


def test_every_other_block_takes_half_of_its_values_and_half_of_those_looked_up():
    plain, varied = with_and_without(value_embeddings=True)
    ids, _ = tokens()
    assert list(varied.tables) == ["1"]
    assert not torch.allclose(varied(ids), plain(ids), atol=1e-3)
    varied.tables["1"].weight.data.zero_()
    plain.blocks[1].attention.qkv.weight.data[2 * SHAPE.n_embd :] *= 0.5
    assert torch.allclose(varied(ids), plain(ids), atol=1e-6)


def test_capped_logits_and_the_z_loss_are_those_of_the_formulas():
    plain, varied = with_and_without(soft_cap=0.01, z_loss=0.5)
    ids, targets = tokens()
    logits = 0.01 * torch.tanh(plain(ids).flatten(0, 1) / 0.01)
    nats = torch.nn.functional.cross_entropy(logits, targets.flatten(), reduction="sum")
    z = logits.logsumexp(-1).square().sum()
    assert varied(ids, targets=targets).item() == pytest.approx(nats.item(), rel=1e-5)
    varied.train()
    assert varied(ids, targets=targets).item() == pytest.approx((nats + 0.5 * z).item(), rel=1e-5)


def test_muon_of_queries_keys_and_values_apart_moves_each_as_a_matrix_of_its_own():
    torch.manual_seed(SEED)
    whole = torch.nn.Parameter(torch.randn(12, 4))
    parts = [torch.nn.Parameter(part.clone()) for part in whole.detach().split(4)]
    together = additions.SeparateMuon([whole], lr=0.1, weight_decay=0.2)
    apart = Muon(parts, lr=0.1, weight_decay=0.2)
    for _ in range(3):
        whole.grad = torch.randn(12, 4)
        for part, grad in zip(parts, whole.grad.split(4), strict=True):
            part.grad = grad.clone()
        together.step()
        apart.step()
    assert torch.allclose(whole, torch.cat(list(parts)), atol=1e-6)


def test_the_mean_of_the_last_steps_is_of_the_weights_after_each_of_them(bench):
    held = modern.Finding(schedule={"min_factor": 1.0, "warmup_steps": 0}, shorten=(1,))
    ends = [weights(bench.trained(held, steps, SEED)) for steps in (4, 5, 6)]
    averaged = replace(held, averaged=0.5)
    model = bench.trained(averaged, 6, SEED)
    for name, parameter in weights(model).items():
        assert torch.allclose(parameter, sum(end[name] for end in ends) / 3, atol=1e-6)


def test_phases_read_as_many_tokens_in_more_and_shorter_windows_or_in_growing_batches(bench):
    def shapes(name):
        finding = modern.FINDINGS[name]
        return [tuple(b.inputs[0].shape) for b in bench._batches(finding, STEPS, SEED)]

    block, size = SHAPE.block_size, PRESET.pretrain.training.batch_size
    assert (block, size) == (256, 4)
    assert shapes("windows of 1/4, 1/2, 1") == [(16, 64)] * 2 + [(8, 128)] * 2 + [(4, 256)] * 2
    assert shapes("batch 1/2, 1, 3/2") == [(8, 64)] * 2 + [(8, 128)] * 2 + [(6, 256)] * 2
    assert shapes("whole rows") == [(4, 256)] * 6


def test_only_recipes_whose_steps_do_other_work_are_timed(bench):
    names = [modern.PRESET, "cosine", "stable, decay over a fifth", "windows of 1/4, 1/2, 1"]
    shares = modern.shares_of_time(bench, names, rounds=1)
    assert list(shares) == names
    assert [shares[name] for name in names[:3]] == [1, 1, 1]
    assert shares[names[3]] != 1


def test_what_a_file_has_is_not_made_again(tmp_path):
    file = tmp_path / "kept.jsonl"
    assert modern.kept_in(file, {"seed": 1}, lambda: 1.5) == 1.5
    assert modern.kept_in(file, {"seed": 2}, lambda: 2.5) == 2.5
    assert modern.kept_in(file, {"seed": 1}, lambda: pytest.fail("made again")) == 1.5


def test_a_line_of_the_table_gives_the_difference_to_the_preset_seed_by_seed():
    line = modern.row("cosine", 1.04, 288, [1.5, 1.6, 1.7], [1.4, 1.6, 1.8])
    assert line == (
        "| cosine | 1.040 | 288 | 1.6000 | +0.0000 ± 0.0577 | +0.1000, +0.0000, -0.1000 |"
    )
