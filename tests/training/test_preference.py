"""The preference loss beside DPO's and SimPO's papers, one token at a time, and beside trl."""

import math
from types import SimpleNamespace

import pytest
import torch

from llmill.model.checkpoint import Checkpoint
from llmill.model.cross_entropy import IGNORE
from llmill.stages.export import write
from llmill.training.batches import Batch, learnt_example
from llmill.training.preference import (
    Pair,
    collate_pairs,
    log_probabilities,
    loss_of,
    margins,
    pair_length,
    preference_loss,
    rewards,
)
from llmill.training.settings import PreferenceLoss
from tests.evaluation.toys import bytes_tokenizer, decoder

END = 256
TEXTS = [("ab", "cde", "x"), ("q", "r", "stuvw"), ("", "aaa", "aab")]  # prompt, chosen, rejected
DPO = {
    "beta": 0.1,
    "label_smoothing": 0.0,
    "reference_free": False,
    "length_normalised": False,
    "margin": 0.0,
}
SIMPO = {"beta": 2.0, "reference_free": True, "length_normalised": True, "margin": 0.5}


def settings(**changed) -> PreferenceLoss:
    return PreferenceLoss(**DPO | changed)


def example(prompt: str, answer: str):
    before = [END, *prompt.encode()]
    ids = [*before, *answer.encode(), END]
    return learnt_example(ids, [n >= len(before) for n in range(len(ids))], 64)


def pairs(reference=((-6.0, -9.5), (-3.0, -14.0), (-8.0, -7.5))) -> list[Pair]:
    return [
        Pair(example(prompt, chosen), example(prompt, rejected), known)
        for (prompt, chosen, rejected), known in zip(TEXTS, reference, strict=True)
    ]


def slow_log_probability(model, prompt: str, answer: str) -> torch.Tensor:
    """Equation 2 of SimPO's paper without the division: token by token, in float64."""
    text = [END, *prompt.encode()]
    nats = torch.zeros((), dtype=torch.float64)
    for token in [*answer.encode(), END]:
        logits = model(torch.tensor([text]))[0, -1].double()
        nats = nats + logits[token] - torch.log(torch.exp(logits).sum())
        text.append(token)
    return nats


def slow_loss(model, reference, how: PreferenceLoss, chosen_weight: float) -> torch.Tensor:
    """DPO's equation 7 with the variants, pair by pair."""
    total = torch.zeros((), dtype=torch.float64)
    for (prompt, chosen, rejected), known in zip(TEXTS, reference, strict=True):
        reward = []
        for answer, before in zip((chosen, rejected), known, strict=True):
            nats = slow_log_probability(model, prompt, answer)
            nats = nats if how.reference_free else nats - before
            reward.append(how.beta * (nats / (len(answer) + 1) if how.length_normalised else nats))
        right = 1 / (1 + torch.exp(-(reward[0] - reward[1] - how.margin)))
        smooth = how.label_smoothing
        total = total - (1 - smooth) * torch.log(right) - smooth * torch.log(1 - right)
        nats = slow_log_probability(model, prompt, chosen)
        total = total - chosen_weight * nats / (len(chosen) + 1)
    return total


VARIANTS = {
    "dpo": {},
    "strong": {"beta": 0.7},
    "smoothed": {"label_smoothing": 0.2},
    "reference_free": {"reference_free": True},
    "length_normalised": {"beta": 2.0, "length_normalised": True},
    "simpo": SIMPO,
    "all": SIMPO | {"reference_free": False, "label_smoothing": 0.1},
}


@pytest.mark.parametrize("chosen_weight", [0.0, 0.7])
@pytest.mark.parametrize("variant", VARIANTS)
def test_loss_and_gradients_are_those_of_the_papers_one_token_at_a_time(variant, chosen_weight):
    how, reference = settings(**VARIANTS[variant]), [pair.reference for pair in pairs()]
    model, slow_model = decoder(), decoder()
    loss = preference_loss(how, chosen_weight)(model, collate_pairs(pairs()))
    expected = slow_loss(slow_model, reference, how, chosen_weight)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    loss.backward()
    expected.backward()
    for (name, fast), slow in zip(model.named_parameters(), slow_model.parameters(), strict=True):
        torch.testing.assert_close(
            fast.grad, slow.grad, rtol=1e-4, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}"
        )


# (P,) log-probabilities of a chosen answer of 2 tokens and a rejected one of 4; the loss by hand.
BY_HAND = {
    "dpo": ({"beta": 0.5}, 0.5 * ((-3 + 5) - (-8 + 6)), 0.126928),
    "smoothed": ({"beta": 0.5, "label_smoothing": 0.25}, 2.0, 0.626928),
    "reference_free": ({"beta": 0.5, "reference_free": True}, 0.5 * (-3 + 8), 0.078889),
    "length_normalised": ({"beta": 0.5, "length_normalised": True}, 0.5 * (1.0 + 0.5), 0.386871),
    "simpo": (SIMPO, 2 * (-1.5 + 2), 0.474077),
}


@pytest.mark.parametrize("variant", BY_HAND)
def test_a_pair_costs_what_a_pocket_calculator_says(variant):
    changed, margin, loss = BY_HAND[variant]
    how = settings(**changed)
    learnt = torch.tensor([[True, True, False, False], [True, True, True, True]])
    batch = Batch((learnt, learnt, torch.tensor([-5.0, -6.0])), learnt, weight=1, tokens=6)
    found = margins(rewards(torch.tensor([-3.0, -8.0]), batch, how))
    assert found.tolist() == [margin]
    assert loss_of(found, how).tolist() == pytest.approx([loss], abs=1e-6)


def test_the_model_that_is_its_own_reference_has_no_margin_and_loses_log_2_a_pair():
    model = decoder()
    batch = collate_pairs(pairs())
    known = log_probabilities(model, batch).detach().view(2, 3).T.tolist()
    batch = collate_pairs(pairs(known))
    assert margins(rewards(log_probabilities(model, batch), batch, settings())).tolist() == [0] * 3
    loss = preference_loss(settings())(model, batch)
    assert loss.item() == pytest.approx(3 * math.log(2))


def test_a_pair_alone_costs_what_it_costs_beside_longer_ones():
    """Padding counts nowhere, and a batch's loss is the sum of its pairs' losses."""
    model, loss = decoder(), preference_loss(settings(**VARIANTS["all"]))
    alone = [loss(model, collate_pairs([pair])).item() for pair in pairs()]
    assert loss(model, collate_pairs(pairs())).item() == pytest.approx(sum(alone), rel=1e-6)


def test_a_batch_holds_the_chosen_answers_and_then_the_rejected_ones():
    batch = collate_pairs(pairs()[:2])
    ids, learnt, reference = batch.inputs
    assert [row[:n].decode() for row, n in zip(map(bytes, ids[:, 1:].tolist()), (5, 2, 3, 6), strict=True)] == ["abcde", "qr", "abx", "qstuvw"]  # fmt: skip
    assert learnt.sum(dim=-1).tolist() == [4, 2, 2, 6]
    assert bytes(batch.targets[:3].tolist()) == b"cde"
    assert reference.tolist() == [-6.0, -3.0, -9.5, -14.0]
    assert (batch.weight, batch.tokens) == (2, 6 + 3 + 4 + 7)
    assert [pair_length(pair) for pair in pairs()] == [6, 7, 4]


def test_a_pair_of_which_nothing_is_learnt_has_a_finite_loss_and_no_gradient():
    nothing = ([END, 97], [IGNORE, IGNORE])
    model, how = decoder(), settings(**VARIANTS["simpo"])
    loss = preference_loss(how)(model, collate_pairs([Pair(nothing, nothing)]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1 + math.exp(0.5)))
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """trl's own trainer on weights that it loads, with a reference of other weights, and the batch
    that it makes of the texts.
    """
    pytest.importorskip("trl", reason="trl, of the extra `test`, is not installed")
    import datasets
    import transformers
    from trl import DPOConfig, DPOTrainer

    folder = tmp_path_factory.mktemp("trl")
    for name, seed in (("policy", 0), ("reference", 1)):
        write(folder / name, Checkpoint(decoder(seed), bytes_tokenizer()))
    model, reference = (
        transformers.AutoModelForCausalLM.from_pretrained(folder / name)
        for name in ("policy", "reference")
    )
    rows = [
        {"prompt": f"<|endoftext|>{prompt}", "chosen": chosen, "rejected": rejected}
        for prompt, chosen, rejected in TEXTS
    ]
    datasets.disable_progress_bars()
    arguments = DPOConfig(
        str(folder / "out"), per_device_train_batch_size=3, report_to=[], use_cpu=True, beta=0.1,
        activation_checkpointing=False, bf16=False,
    )  # fmt: skip
    return DPOTrainer(
        model,
        reference,
        arguments,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=transformers.AutoTokenizer.from_pretrained(folder / "policy"),
    )


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")  # trl's affair
@pytest.mark.parametrize(("kind", "variant"), [("sigmoid", "dpo"), ("sigmoid_norm", "length_normalised")])  # fmt: skip
def test_the_numbers_of_one_batch_are_those_of_trl(theirs, kind, variant):
    how = settings(**VARIANTS[variant])
    theirs.loss_types, theirs.beta = [kind], how.beta
    theirs.model.train().zero_grad()
    theirs._metrics["train"].clear()
    inputs = theirs.data_collator([theirs.train_dataset[n] for n in range(3)])
    loss = theirs.compute_loss(theirs.model, inputs)
    loss.backward()
    model, reference = decoder(0), decoder(1)
    known = log_probabilities(reference, collate_pairs(pairs())).detach().view(2, 3).T.tolist()
    batch = collate_pairs(pairs(known))
    ours = preference_loss(how)(model, batch) / 3
    ours.backward()
    assert ours.item() == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(
        model.embedding.weight.grad,
        theirs.model.transformer.wte.weight.grad,
        rtol=1e-3,
        atol=1e-5,
    )
    found, likely = theirs._metrics["train"], log_probabilities(model, batch).view(2, 3)
    assert likely.mean(dim=-1).tolist() == pytest.approx(
        [found["logps/chosen"][0], found["logps/rejected"][0]], rel=1e-4
    )
    plain = margins(rewards(likely.flatten(), batch, settings(beta=how.beta)))
    assert plain.mean().item() == pytest.approx(found["rewards/margins"][0], rel=1e-4)
    assert (plain > 0).float().mean().item() == pytest.approx(found["rewards/accuracies"][0])


def test_simpo_is_that_of_trl():
    pytest.importorskip("trl", reason="trl, of the extra `test`, is not installed")
    from trl.experimental.cpo import CPOTrainer

    how = settings(**SIMPO, label_smoothing=0.1)
    model, batch = decoder(), collate_pairs(pairs())
    likely = log_probabilities(model, batch)
    ours = loss_of(margins(rewards(likely, batch, how)), how)
    cpu = SimpleNamespace(device=torch.device("cpu"))
    trainer = SimpleNamespace(
        alpha=0.0,
        beta=2.0,
        loss_type="simpo",
        simpo_gamma=0.5,
        label_smoothing=0.1,
        accelerator=cpu,
    )
    per_token = (likely / batch.inputs[1].sum(dim=-1)).chunk(2)
    theirs, *_ = CPOTrainer.cpo_loss(trainer, *per_token)
    torch.testing.assert_close(ours, theirs)
