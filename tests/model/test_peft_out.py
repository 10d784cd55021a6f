"""Adapters in peft's form: what is written, and that peft computes and learns what llmill does."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from llmill.model import huggingface, lora, peft_out
from llmill.model.settings import Adapter, Model
from llmill.model.transformer import Transformer
from tests.model.test_lora import DORA, EVERY, HOW, IDX, learnt, settings
from tests.model.test_transformer import GPT2, LLAMA, MODERN, model

FORMS = pytest.mark.parametrize("config", [LLAMA, MODERN], ids=["llama", "nanochat"])
SPECIAL = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}


def adapted(config: Model, how: Adapter = EVERY) -> Transformer:
    made = model(config)
    lora.add(made, how)
    learnt(made)
    return made


def written(folder, made: Transformer, how: Adapter = EVERY) -> None:
    architecture = huggingface.fitting(made.config)
    huggingface.save(folder / "base", model(made.config), architecture, SPECIAL)
    stored = lora.StoredAdapter(how, lora.state(made), folder)
    base = str(folder / "base")
    peft_out.save(folder / "adapter", stored, made.config, architecture, base)


def by_peft(folder, **options):
    peft = pytest.importorskip("peft", reason="the package peft is not installed")
    return peft.AutoPeftModelForCausalLM.from_pretrained(folder / "adapter", **options)


def test_each_target_is_a_layer_of_theirs(tmp_path):
    how = settings(targets=["query", "up"], rank_stabilised=True, dropout=0.25)
    made = adapted(LLAMA, how)
    written(tmp_path, made, how)
    assert json.loads((tmp_path / "adapter/adapter_config.json").read_text()) == {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(tmp_path / "base"),
        "r": 2,
        "lora_alpha": 4.0,
        "use_rslora": True,
        "use_dora": False,
        "lora_dropout": 0.25,
        "target_modules": ["q_proj", "up_proj"],
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    tensors = load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        f"base_model.model.model.layers.{i}.{layer}.weight": shape
        for i in (0, 1)
        for layer, shape in {
            "self_attn.q_proj.lora_A": (2, 16),
            "self_attn.q_proj.lora_B": (16, 2),
            "mlp.up_proj.lora_A": (2, 16),
            "mlp.up_proj.lora_B": (64, 2),
        }.items()
    }


def test_a_model_that_holds_several_targets_in_one_layer_has_no_such_form():
    reason = peft_out.lacking(huggingface.fitting(GPT2), GPT2)
    assert reason == "gpt2 holds query, key and value in one layer"


@FORMS
@pytest.mark.parametrize(
    "how", [EVERY, settings(rank_stabilised=True), DORA], ids=["lora", "rank_stabilised", "dora"]
)
def test_peft_gives_the_logits_of_what_was_written(tmp_path, config, how):
    made = adapted(config, how)
    written(tmp_path, made, how)
    theirs = by_peft(tmp_path)
    torch.testing.assert_close(theirs(IDX).logits, made(IDX), rtol=0, atol=1e-4)
    with torch.no_grad():
        plain = model(config)(IDX)
    assert (made(IDX) - plain).abs().max() > 0.1


@FORMS
@HOW
def test_peft_learns_the_same_from_the_same_batch(tmp_path, config, how):
    ours = adapted(config, how)
    written(tmp_path, ours, how)
    theirs = by_peft(tmp_path, is_trainable=True)
    draws = torch.Generator().manual_seed(5)
    idx = torch.randint(0, 50, (4, 12), generator=draws)
    before = ours(IDX).detach()
    for logits_of, parameters in (
        (ours, ours.parameters()),
        (lambda ids: theirs(ids).logits, theirs.parameters()),
    ):
        steps = torch.optim.AdamW([p for p in parameters if p.requires_grad], lr=0.01)
        for _ in range(5):
            logits = logits_of(idx[:, :-1]).flatten(0, 1)
            F.cross_entropy(logits, idx[:, 1:].flatten()).backward()
            steps.step()
            steps.zero_grad()
    torch.testing.assert_close(theirs(IDX).logits, ours(IDX), rtol=0, atol=1e-4)
    assert (ours(IDX) - before).abs().max() > 0.1
