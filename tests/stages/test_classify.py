"""Stage classify: each variant trains its part, and the checkpoint knows its labels."""

import shutil
import signal

import pytest
import torch
from safetensors.torch import load_file

from llmill.contract import record
from llmill.contract.errors import Stopped, UserError
from llmill.evaluation import classification
from llmill.model import checkpoint
from llmill.stages import pretrain
from llmill.stages.classify import class_weights, run, some
from llmill.tasks.classification import Message
from llmill.tasks.classification import read as messages_of
from llmill.tasks.classification import write as write_messages
from tests.jobs import Track
from tests.stages.counting import counting, counts
from tests.stages.trainee import foundation, job, masked, messages, smoke, tokens


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    foundation(tmp_path)
    messages(tmp_path)
    return tmp_path


def settings(epochs: float = 1.0, max_length: int = 64, **values: object):
    tree = smoke(classify={"max_length": max_length, **values})
    training = tree.classify.training
    rates = training.optimizer.model_copy(update={"lr": 0.01})
    longer = training.model_copy(update={"epochs": epochs, "optimizer": rates})
    return tree.model_copy(
        update={"classify": tree.classify.model_copy(update={"training": longer})}
    )


def trained(world, variant: str, name: str = "one", **values: object):
    """What the stage leaves in a folder of its own."""
    place = world / variant / name
    place.mkdir(parents=True)
    made = job(place, variant)
    run(settings(**values), made)
    return made


def weights(made) -> dict[str, torch.Tensor]:
    return checkpoint.load(made.out / "checkpoint").model.state_dict()


def changed(world, variant: str) -> set[str]:
    """The tensors that differ from the foundation's after training."""
    before = checkpoint.load(world / "results/pretrain/checkpoint").model.state_dict()
    made = trained(world, variant)
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
    stored = load_file(world / "lora/one/out/checkpoint/model.safetensors")
    assert {name for name in stored if "adapters" not in name} == {"head.weight"}
    metrics = record.read_json(world / "lora/one/out/metrics.json")
    assert metrics["trainable_parameters"] == sum(tensor.numel() for tensor in stored.values())


def test_the_all_variant_learns_the_last_letter(world):
    made = job(world, "all")
    run(settings(epochs=12.0), made)
    metrics = record.read_json(made.out / "metrics.json")
    assert metrics["validation_accuracy"] == 1.0
    loaded = checkpoint.load(made.out / "checkpoint")
    assert loaded.labels == ["ham", "spam"]
    assert loaded.max_length == 64


def test_the_messages_that_the_frozen_layers_read_are_counted(world, monkeypatch, capsys):
    run(settings(), counting(job(world, "last_layer"), monkeypatch))
    found = counts(capsys.readouterr().out, "messages read by the frozen layers")
    assert [count for count in found if count[0] == count[1]] == [(96, 96), (16, 16), (16, 16)]
    assert len(found) > 3


@pytest.mark.parametrize("variant", ["last_layer", "all"])
def test_further_tests_are_scored_as_the_checkpoint_labels_them(world, variant):
    rows = [Message("spam", "abx"), Message("ham", "hgfedcbao")]
    (world / "data/prepare/classification/tests").mkdir()
    write_messages(world / "data/prepare/classification/tests/more.jsonl", rows)
    made = trained(world, variant)
    (seed,) = record.read_json(made.out / "scores.json")["seeds"].values()
    loaded = checkpoint.load(made.out / "checkpoint")
    said = [label for label, _ in classification.predict(loaded, [row.text for row in rows])]
    assert [loaded.labels[x.index(max(x))] for x in seed["tests"]["more"]] == said


def test_a_label_of_a_further_test_that_was_never_learnt_is_refused(world):
    (world / "data/prepare/classification/tests").mkdir()
    write_messages(world / "data/prepare/classification/tests/more.jsonl", [Message("new", "a")])
    with pytest.raises(UserError, match=r"tests/more.jsonl: label 'new' stands in no training"):
        trained(world, "all")


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
    said = [label for label, _ in classification.predict(loaded, texts)]
    assert said == ["spam", "ham", "spam", "ham"]


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
        for split in ("train", "validate", "test")
        for row in messages_of(world / f"data/prepare/classification/{split}.jsonl")
    ]
    longer = sum(len(row.text.encode()) + 1 > 4 for row in rows)
    assert counts == {4: longer, 64: 0}
    assert longer > 0


@pytest.mark.parametrize("variant", ["last_layer", "last_block"])
@pytest.mark.parametrize(
    "values", [{}, {"reads": "mean", "causal": False}], ids=["causal", "both ways"]
)
def test_what_the_frozen_part_makes_is_made_once_and_changes_nothing(world, variant, values):
    dropping(world)
    fast = trained(world, variant, "fast", epochs=3.0, **values)
    slow = trained(world, variant, "slow", epochs=3.0, features_mib=0, **values)
    found, expected = weights(fast), weights(slow)
    for each in (found, expected):
        # No score depends on the keys' bias, so its gradient is noise, which AdamW makes steps of.
        each["body.blocks.1.attention.qkv.bias"][16:32] = 0
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-5, rtol=0)
    assert any("computed once" in line for line in fast.said)
    assert any(
        "more than classify.features_mib (0): computed again at every step" in line
        for line in slow.said
    )


def dropping(world):
    """Give the foundation model dropout: its frozen part must read without."""
    place = world / "results/pretrain/checkpoint"
    config = record.read_json(place / "config.json")
    config["model"]["dropout"] = 0.3
    record.write_json(place / "config.json", config)


def test_less_than_a_pass_over_the_messages_keeps_nothing(world):
    made = trained(world, "last_layer", epochs=0.3)
    assert not [line for line in made.said if "frozen part" in line]


def test_scores_are_what_the_classifier_says_of_the_messages_it_did_not_see(world):
    made = trained(world, "last_block", epochs=3.0)
    loaded = checkpoint.load(made.out / "checkpoint")
    scores = record.read_json(made.out / "scores.json")
    for split in ("validate", "test"):
        texts = [m.text for m in messages_of(world / f"data/prepare/classification/{split}.jsonl")]
        logits = torch.tensor(scores["seeds"]["1"][split])
        said = [scores["labels"][i] for i in logits.argmax(dim=-1).tolist()]
        assert said == [label for label, _ in classification.predict(loaded, texts)]
    assert (
        scores["trainable_parameters"]
        == record.read_json(made.out / "metrics.json")["trainable_parameters"]
    )


def test_of_several_seeds_the_first_is_the_classifier_and_each_leaves_its_scores(world):
    one, two = (trained(world, "last_block", str(s), seeds=s) for s in ([1], [1, 2]))
    for name, tensor in weights(one).items():
        assert torch.equal(tensor, weights(two)[name])
    alone, both = (record.read_json(made.out / "scores.json")["seeds"] for made in (one, two))
    assert list(both) == ["1", "2"]
    assert both["1"] == alone["1"] != both["2"]
    assert (one.out / "curves.csv").read_bytes() == (two.out / "curves.csv").read_bytes()
    assert (two.out / "curves-2.csv").exists()
    assert "seed_2.train_loss" in two.track.seen
    assert list(record.read_json(two.out / "metrics.json")["seeds"]) == ["1", "2"]


@pytest.mark.parametrize("variant", ["last_block", "all"])
def test_each_of_several_seeds_begins_from_the_foundation_as_alone(world, variant):
    alone, both = (trained(world, variant, str(s), seeds=s) for s in ([2], [1, 2]))
    scores = [record.read_json(made.out / "scores.json")["seeds"]["2"] for made in (alone, both)]
    assert scores[0] == scores[1]


def test_fewer_messages_are_the_first_of_more():
    numbers = list(range(96))
    assert some(numbers, 8, seed=1) == some(numbers, 32, seed=1)[:8]
    assert some(numbers, 8, seed=1) != some(numbers, 8, seed=2)


def test_each_size_of_a_learning_curve_is_trained_for_as_many_steps_as_all_messages(world):
    made = trained(world, "last_layer", epochs=3.0, sizes=[8, 32])  # 3 steps an epoch of all 96
    for name in ("", "size_8: ", "size_32: "):
        assert any(line.startswith(f"{name}step 9/9 ") for line in made.said)


def test_a_learning_curve_of_the_head_is_trained_on_fewer_messages_and_leaves_it_alone(world):
    alone = trained(world, "last_layer", "alone", sizes=[])
    made = trained(world, "last_layer", "curve", sizes=[8, 32, 500])  # there are 96
    assert torch.equal(weights(made)["head.weight"], weights(alone)["head.weight"])
    found = record.read_json(made.out / "scores.json")
    assert list(found["sizes"]) == ["8", "32"]
    assert len(found["sizes"]["8"]["1"]) == 16
    assert found["sizes"]["8"]["1"] != found["sizes"]["32"]["1"] != found["seeds"]["1"]["test"]
    assert record.read_json(trained(world, "all", sizes=[8]).out / "scores.json")["sizes"] == {}


class StopsAt(Track):
    """A tracker that is handed so many rows, then asks for a stop."""

    def __init__(self, stop, rows: int):
        super().__init__()
        self.stop, self.rows = stop, rows

    def metrics(self, values, step=None):
        self.rows -= step is not None
        if self.rows == 0:
            self.stop.signum = signal.SIGTERM


@pytest.mark.parametrize("row", [1, 3, 4, 5])
def test_a_stop_in_any_of_several_trainings_costs_nothing(world, row):
    values = {"epochs": 5.0, "seeds": [3, 4], "sizes": [32]}  # two rows each, of 15 steps
    whole = trained(world, "last_layer", "whole", **values)
    place = world / "parts"
    place.mkdir()
    made = job(place, "last_layer")
    made.track = StopsAt(made.stop, row)
    with pytest.raises(Stopped):
        run(settings(**values), made)
    shutil.rmtree(made.out)
    again = job(place, "last_layer")
    run(settings(**values), again)
    assert any("continues at step" in line for line in again.said)
    for name in ("scores.json", "curves.csv", "curves-4.csv", "metrics.json"):
        assert (again.out / name).read_bytes() == (whole.out / name).read_bytes()


def test_a_model_from_random_weights_has_nothing_of_the_foundation(world):
    one = trained(world, "all_from_random", "one")
    shutil.rmtree(world / "results")
    foundation(world, seed=5)
    other = trained(world, "all_from_random", "other")
    assert all(torch.equal(tensor, weights(other)[name]) for name, tensor in weights(one).items())
    assert checkpoint.load(one.out / "checkpoint").begun_from is None


def test_a_label_that_was_never_learnt_is_refused(world):
    path = world / "data/prepare/classification/validate.jsonl"
    write_messages(path, [Message("maybe", "who knows")])
    with pytest.raises(UserError, match=r"validate\.jsonl: label 'maybe' stands in no"):
        run(settings(), job(world, "all"))


def test_the_token_that_is_read_is_kept_with_the_model(world):
    made = trained(world, "all", epochs=12.0, reads="mean", causal=False)
    loaded = checkpoint.load(made.out / "checkpoint").model
    assert (loaded.reads, loaded.both_ways) == ("mean", True)
    assert record.read_json(made.out / "metrics.json")["validation_accuracy"] == 1.0
    first = trained(world, "last_layer", reads="first")
    # <|endoftext|> is the first of every message, and sees nothing else.
    scores = record.read_json(first.out / "scores.json")["seeds"]["1"]["test"]
    assert len({tuple(row) for row in scores}) == 1
    assert any("so every message reads the same" in line for line in first.said)
