"""Stage classify: each variant trains its part, and the checkpoint knows its labels."""

import pytest
import torch
from safetensors.torch import load_file

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.evaluation import classification
from llmill.model import checkpoint
from llmill.stages import pretrain
from llmill.stages.classify import class_weights, run
from llmill.tasks.classification import read as messages_of
from tests.stages.trainee import foundation, job, masked, messages, smoke, tokens


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    foundation(tmp_path)
    messages(tmp_path)
    return tmp_path


def settings(epochs: float = 1.0, max_length: int = 64):
    tree = smoke(classify={"max_length": max_length})
    training = tree.classify.training
    rates = training.optimizer.model_copy(update={"lr": 0.01})
    longer = training.model_copy(update={"epochs": epochs, "optimizer": rates})
    return tree.model_copy(
        update={"classify": tree.classify.model_copy(update={"training": longer})}
    )


def changed(world, variant: str) -> set[str]:
    """The tensors that differ from the foundation's after training."""
    before = checkpoint.load(world / "results/pretrain/checkpoint").model.state_dict()
    place = world / variant
    place.mkdir()
    made = job(place, variant)
    run(settings(), made)
    after = checkpoint.load(made.out / "checkpoint").model.body.state_dict()
    return {name for name in after if not torch.equal(after[name], before[name])}


def test_the_last_layer_variant_leaves_the_decoder_as_it_was(world):
    assert changed(world, "last_layer") == set()


def test_the_last_block_variant_changes_the_last_block_and_the_final_norm_only(world):
    found = changed(world, "last_block")
    assert found
    assert all(name.startswith(("blocks.1.", "norm.")) for name in found)


def test_the_lora_variant_changes_the_blocks_matrices_and_stores_an_adapter_and_the_head(world):
    assert changed(world, "lora") == {
        f"blocks.{i}.{name}.weight"
        for i in (0, 1)
        for name in ("attention.qkv", "attention.out", "mlp.up", "mlp.down")
    }
    stored = load_file(world / "lora/out/checkpoint/model.safetensors")
    assert {name for name in stored if "adapters" not in name} == {"head.weight"}
    metrics = record.read_json(world / "lora/out/metrics.json")
    assert metrics["trainable_parameters"] == sum(tensor.numel() for tensor in stored.values())


def test_the_all_variant_learns_the_last_letter(world):
    made = job(world, "all")
    run(settings(epochs=12.0), made)
    metrics = record.read_json(made.out / "metrics.json")
    assert metrics["validation_accuracy"] == 1.0
    loaded = checkpoint.load(made.out / "checkpoint")
    assert loaded.labels == ["ham", "spam"]
    assert loaded.max_length == 64


def test_classes_are_learnt_from_a_masked_foundation_pretrained_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tokens(tmp_path)
    messages(tmp_path)
    made = job(tmp_path)
    pretrain.run(masked(), made)
    (tmp_path / "results").mkdir()
    made.out.rename(tmp_path / "results/pretrain")
    place = tmp_path / "classify"
    place.mkdir()
    made = job(place, "all")
    run(settings(epochs=12.0, max_length=32), made)
    metrics = record.read_json(made.out / "metrics.json")
    assert metrics["validation_accuracy"] == 1.0
    loaded = checkpoint.load(made.out / "checkpoint")
    assert (loaded.model.config.causal, loaded.max_length) == (False, 32)
    texts = ["abx", "abo", "hgfedcbax", "o"]
    assert classification.predict(loaded, texts) == ["spam", "ham", "spam", "ham"]


def test_a_message_longer_than_the_foundation_model_reads_is_refused(world):
    with pytest.raises(UserError, match="max_length 65 is above the 64 tokens that the foundation"):
        run(smoke(classify={"max_length": 65}), job(world, "all"))


def test_balanced_weights_give_every_class_the_same_total():
    balanced = smoke().classify.model_copy(update={"class_weights": "balanced"})
    assert class_weights(balanced, [0, 0, 0, 1], 2).tolist() == pytest.approx([2 / 3, 2.0])
    assert class_weights(smoke().classify, [0, 0, 0, 1], 2).tolist() == [1.0, 1.0]


def test_messages_longer_than_the_model_reads_are_counted_and_said(world):
    counts = {}
    for length in (4, 64):
        place = world / str(length)
        place.mkdir()
        made = job(place, "last_layer")
        run(settings(max_length=length), made)
        counts[length] = record.read_json(made.out / "metrics.json")["messages_cut"]
    rows = [
        row
        for split in ("train", "validate")
        for row in messages_of(world / f"data/prepare/classification/{split}.jsonl")
    ]
    longer = sum(len(row.text.encode()) + 1 > 4 for row in rows)
    assert counts == {4: longer, 64: 0}
    assert longer > 0
