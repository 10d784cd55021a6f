"""Stage pretrain: what it writes, what it measures, what it refuses."""

import csv
import math
import shutil
import signal

import pytest
import torch

from llmill.contract import record
from llmill.contract.errors import Stopped, UserError
from llmill.model import checkpoint
from llmill.stages.pretrain import load, loss_over, masked_loss_over, run
from llmill.text.shards import Shards
from llmill.training.masking import Masked, masked_windows
from tests.evaluation.toys import bytes_tokenizer, decoder
from tests.stages.trainee import job, masked, smoke, tokens


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tokens(tmp_path)
    return tmp_path


def shape(**values):
    tree = smoke()
    return tree.model_copy(
        update={"model": tree.model.model_copy(update={"block_size": 32, **values})}
    )


def test_it_writes_a_checkpoint_a_curve_samples_and_final_figures(world):
    made = job(world)
    run(shape(), made)
    loaded = checkpoint.load(made.out / "checkpoint")
    metrics = record.read_json(made.out / "metrics.json")
    assert metrics["parameters"] == sum(p.numel() for p in loaded.model.parameters())
    assert metrics["steps"] == 12
    assert metrics["tokens"] == 12 * 4 * 32
    assert metrics["perplexity"] == math.exp(metrics["validation_loss"])
    held_out = Shards.load(world / "data/tokenize/validate")
    again = loss_over(loaded.model, held_out, 32, loaded.tokenizer, None)
    assert again["validation_loss"] == pytest.approx(metrics["validation_loss"], abs=1e-6)
    with (made.out / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["4", "8", "12"]
    assert [bool(row["validation_loss"]) for row in rows] == [False, True, True]
    samples = record.read_json(made.out / "samples.json")
    assert {s["prompt"] for s in samples} == {"The capital of", "Question: What is", "Gold is"}
    assert made.track.tables["samples"] == samples


def test_it_learns(world):
    made = job(world)
    run(shape(), made)
    assert record.read_json(made.out / "metrics.json")["validation_loss"] < math.log(257) - 0.5


def test_the_same_parameters_give_the_same_bytes_and_samples_do_not_disturb_training(world):
    hashes = []
    for prompts in (["a"], ["a"], ["b", "c"]):
        place = world / f"run{len(hashes)}"
        place.mkdir()
        made = job(place)
        tree = shape()
        sampling = tree.pretrain.samples.model_copy(update={"prompts": prompts})
        settings = tree.pretrain.model_copy(update={"samples": sampling})
        run(tree.model_copy(update={"pretrain": settings}), made)
        hashes.append(record.sha256_file(made.out / "checkpoint/model.safetensors"))
    assert len(set(hashes)) == 1


@pytest.mark.parametrize("mask_documents", [False, True])
@pytest.mark.parametrize("packing", ["windows", "documents"])
def test_it_learns_however_rows_are_packed_and_the_figures_are_over_windows(
    world, packing, mask_documents
):
    made, tree = job(world), shape()
    settings = {"packing": packing, "mask_documents": mask_documents}
    run(tree.model_copy(update={"pretrain": tree.pretrain.model_copy(update=settings)}), made)
    loaded = checkpoint.load(made.out / "checkpoint")
    metrics = record.read_json(made.out / "metrics.json")
    held_out = Shards.load(world / "data/tokenize/validate")
    again = loss_over(loaded.model, held_out, 32, loaded.tokenizer, None)
    assert metrics["validation_loss"] == pytest.approx(again["validation_loss"], abs=1e-6)
    assert metrics["validation_loss"] < math.log(257) - 0.5
    assert metrics["tokens"] <= 12 * 4 * 32


def test_bits_per_byte_divide_by_the_bytes_of_the_predicted_tokens(world):
    model, tokenizer = decoder(), bytes_tokenizer()
    held_out = Shards.load(world / "data/tokenize/validate")
    found = loss_over(model, held_out, 32, tokenizer, None)
    nats, n_bytes, n_tokens = 0.0, 0, 0
    for n in range(held_out.n_windows(32)):
        ids = torch.tensor(held_out.window(n * 32, 33).astype("int64"))
        logprobs = model(ids[None, :-1])[0].log_softmax(-1)
        for place, target in enumerate(ids[1:].tolist()):
            nats -= float(logprobs[place, target].detach())
            n_bytes += target != tokenizer.end_of_text
            n_tokens += 1
    assert found["validation_loss"] == pytest.approx(nats / n_tokens, rel=1e-5)
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / n_bytes, rel=1e-5)


def test_shards_of_another_vocabulary_are_refused(world):
    other = type(bytes_tokenizer())({**{bytes([b]): b for b in range(256)}, b"ab": 256})
    with pytest.raises(UserError, match="made with 257 tokens, the tokenizer has 258"):
        load(world / "data/tokenize/train", other, 32)


def test_text_shorter_than_one_window_is_refused(world):
    with pytest.raises(UserError, match="are fewer than one window of 4096"):
        load(world / "data/tokenize/validate", bytes_tokenizer(), 4096)


def changed(tree, **pretrain):
    return tree.model_copy(update={"pretrain": tree.pretrain.model_copy(update=pretrain)})


@pytest.mark.parametrize("mask_documents", [False, True])
@pytest.mark.parametrize("packing", ["windows", "documents"])
def test_a_masked_model_learns_hidden_tokens_and_its_figure_has_a_name_of_its_own(
    world, packing, mask_documents
):
    made = job(world)
    run(changed(masked(), packing=packing, mask_documents=mask_documents), made)
    loaded = checkpoint.load(made.out / "checkpoint")
    assert loaded.model.vocab_size == loaded.tokenizer.n_vocab + 1
    metrics = record.read_json(made.out / "metrics.json")
    assert metrics["masked_loss"] < math.log(258) - 0.5
    assert not {"validation_loss", "bits_per_byte", "perplexity"} & metrics.keys()
    assert metrics["tokens"] <= 12 * 4 * 32
    held_out = Shards.load(world / "data/tokenize/validate")
    again = masked_loss_over(loaded.model, held_out, 32, loaded.tokenizer, None)
    assert metrics["masked_loss"] == pytest.approx(again["masked_loss"], abs=1e-6)
    with (made.out / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["masked_loss"]) for row in rows] == [False, True, True]
    assert float(rows[-1]["masked_loss"]) < float(rows[1]["masked_loss"])
    assert record.read_json(made.out / "samples.json") == []


def test_the_masked_loss_is_that_of_the_hidden_tokens_alone(world):
    model, tokenizer = decoder(causal=False), bytes_tokenizer()
    held_out = Shards.load(world / "data/tokenize/validate")
    numbers = list(range(held_out.n_windows(32)))
    batch = masked_windows(held_out, 32, numbers, tokenizer.end_of_text)
    read, chosen = batch.inputs
    nats, n_tokens, targets = 0.0, 0, iter(batch.targets.tolist())
    for row in numbers:
        logprobs = model(read[row : row + 1])[0].log_softmax(-1)
        for place in chosen[row].nonzero()[:, 0].tolist():
            nats -= float(logprobs[place, next(targets)].detach())
            n_tokens += 1
    found = masked_loss_over(model, held_out, 32, tokenizer, None)
    assert found == {"masked_loss": pytest.approx(nats / n_tokens, rel=1e-5)}


def test_a_masked_training_that_was_stopped_ends_with_the_same_bytes(world, monkeypatch):
    hashes = []
    for stop in (None, 7):
        place = world / f"run{stop}"
        place.mkdir()
        if stop:
            stopped, deal = job(place), Masked.get

            def get(self, start, count, stopped=stopped, deal=deal):
                stopped.stop.signum = signal.SIGTERM if start == 4 * 7 else None
                return deal(self, start, count)

            with monkeypatch.context() as patch, pytest.raises(Stopped):
                patch.setattr(Masked, "get", get)
                run(masked(dropout=0.1), stopped)
            shutil.rmtree(stopped.out)
        made = job(place)
        run(masked(dropout=0.1), made)
        hashes.append(record.sha256_file(made.out / "checkpoint/model.safetensors"))
        hashes.append(record.sha256_file(made.out / "curves.csv"))
    assert hashes[:2] == hashes[2:]
