"""Stage pretrain: what it writes, what it measures, what it refuses."""

import csv
import math
import shutil
import signal

import pytest
import torch

from llmill.contract import record
from llmill.contract.errors import Stopped, UserError
from llmill.model import checkpoint, huggingface
from llmill.model.settings import FromInit
from llmill.model.transformer import Transformer
from llmill.stages.pretrain import batches, rows, run
from llmill.text.tokenization import shards
from llmill.text.tokenization.shards import Shards
from llmill.training.masking import Masked, masked_windows
from llmill.training.short_rows import ShortRows
from llmill.training.validation import loss_by_source, loss_over, masked_loss_over
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
    assert metrics["validation_loss"] < math.log(257) - 0.5  # it learns
    assert "by_source" not in metrics  # it begins anew
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
    assert made.track.sent["samples"] == samples


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
        Shards.for_windows(world / "data/tokenize/train", other, 32)


def test_text_shorter_than_one_window_is_refused(world):
    with pytest.raises(UserError, match="are fewer than one window of 4096"):
        Shards.for_windows(world / "data/tokenize/validate", bytes_tokenizer(), 4096)
    with pytest.raises(UserError, match="; add text, or lower"):
        Shards.for_windows(world / "data/tokenize/train", bytes_tokenizer(), 10**7)


def test_a_training_that_diverged_is_said_to_have(world, monkeypatch):
    monkeypatch.setattr("llmill.stages.pretrain.LARGEST", 0.1)
    said = r"^the training diverged: validation loss \d+\.\d; lower pretrain.training.optimizer.lr"
    with pytest.raises(UserError, match=said):
        run(shape(), job(world))


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


def short_rows(*times: int):
    """The smoke preset in a context of 32, with phases of shorter rows."""
    return changed(shape(), shorten_rows=list(times))


def test_shorter_rows_learn_as_many_tokens_and_another_model(world):
    found = {}
    for times in ((1,), (4, 2, 1)):
        made = job(world / "-".join(map(str, times)))
        run(short_rows(*times), made)
        found[times] = figures(made)
        assert found[times]["tokens"] == 12 * 4 * 32
    assert found[4, 2, 1]["validation_loss"] != found[1,]["validation_loss"]


def test_a_training_stopped_in_its_second_phase_ends_with_the_same_bytes(world, monkeypatch):
    whole, stopped = job(world / "whole"), job(world / "stopped")
    run(short_rows(4, 2, 1), whole)
    deal = ShortRows.get

    def get(self, start, count):
        stopped.stop.signum = signal.SIGTERM if start == 4 * 5 else None
        return deal(self, start, count)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(ShortRows, "get", get)
        run(short_rows(4, 2, 1), stopped)
    shutil.rmtree(stopped.out)
    again = job(world / "stopped")
    run(short_rows(4, 2, 1), again)
    for name in ("checkpoint/model.safetensors", "curves.csv"):
        assert record.sha256_file(whole.out / name) == record.sha256_file(again.out / name)


@pytest.mark.parametrize(
    ("length", "steps"), [({"max_steps": 6}, 6), ({"max_steps": None, "epochs": 2.0}, 18)]
)
def test_a_phase_has_a_third_of_the_steps_which_may_have_several_batches(world, length, steps):
    """Two batches of two rows a step; an epoch has 35 rows, so two have 18 steps."""
    tree = short_rows(4, 2, 1)
    size = {"batch_size": 2, "grad_accum_steps": 2}
    training = tree.pretrain.training.model_copy(update=length | size)
    settings = tree.pretrain.model_copy(update={"training": training})
    made = batches(settings, rows(settings, 32, world / "data/tokenize", bytes_tokenizer()))
    assert made.n == 35
    shapes = [tuple(made.get(start, 2).inputs[0].shape) for start in range(0, 4 * steps, 2)]
    batches_of_phase = 2 * steps // 3
    assert shapes == [
        shape for shape in ((8, 8), (4, 16), (2, 32)) for _ in range(batches_of_phase)
    ]


def test_rows_that_do_not_divide_the_context_are_refused_before_any_training(world):
    made = job(world)
    with pytest.raises(UserError) as caught:
        run(short_rows(4, 3), made)
    assert str(caught.value) == (
        "params.yaml: pretrain.shorten_rows: 3 does not divide the context of 32 tokens; "
        "set it to [1], or choose divisors"
    )


def begun(steps: int, **changes: object):
    """The smoke preset from weights in data/download/init."""
    tree = smoke()
    training = tree.pretrain.training.model_copy(update={"max_steps": steps})
    pretrain = tree.pretrain.model_copy(update={"training": training})
    shape = FromInit(shape="init", **changes)
    return tree.model_copy(update={"model": shape, "pretrain": pretrain})


def ours(world, seed: int = 0):
    """Weights of ours to begin from."""
    model = decoder(seed, block_size=32)
    saved = checkpoint.Checkpoint(model, bytes_tokenizer())
    checkpoint.save(world / "data/download/init", saved)
    return model


def figures(made) -> dict:
    return record.read_json(made.out / "metrics.json")


def curve(made) -> list[dict[str, str]]:
    with (made.out / "curves.csv").open() as file:
        return list(csv.DictReader(file))


def test_no_steps_hand_on_the_weights_they_were_given(world):
    model, made = ours(world), job(world)
    run(begun(0), made)
    loaded = checkpoint.load(made.out / "checkpoint")
    assert loaded.model.config == model.config
    found, wanted = loaded.model.state_dict(), model.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    (row,) = curve(made)
    assert list(row) == ["step", "tokens", "lr", "train_loss", "validation_loss", "bits_per_byte"]
    assert (row["step"], row["tokens"], row["train_loss"]) == ("0", "0", "")
    metrics = figures(made)
    assert (metrics["steps"], metrics["tokens"], metrics["epochs"]) == (0, 0, 0.0)
    assert {s["step"] for s in record.read_json(made.out / "samples.json")} == {0}


@pytest.mark.parametrize("kept", [{"template": "{{ 1 }}"}, {"weights_template": "{{ 1 }}"}])
def test_the_template_of_weights_of_ours_is_kept(world, kept):
    saved = checkpoint.Checkpoint(decoder(block_size=32), bytes_tokenizer(), **kept)
    checkpoint.save(world / "data/download/init", saved)
    made = job(world)
    run(begun(0), made)
    assert checkpoint.load(made.out / "checkpoint").weights_template == "{{ 1 }}"


def test_weights_that_pass_through_are_measured_on_the_held_out_text_once(world, monkeypatch):
    """Each window is read once, beside what the samples read, and the figures are those of both
    measures apart.
    """
    model, made = ours(world), job(world)
    held_out, read = Shards.load(world / "data/tokenize/validate"), []
    forward = Transformer.hidden

    def counted(self, idx, *rest, **others):
        read.append(idx.size(0) if idx.size(-1) == 32 and not others else 0)
        return forward(self, idx, *rest, **others)

    monkeypatch.setattr(Transformer, "hidden", counted)
    run(begun(0), made)
    assert sum(read) == held_out.n_windows(32)
    monkeypatch.undo()
    whole = loss_over(model, held_out, 32, bytes_tokenizer(), None)
    for name, value in whole.items():
        assert figures(made)[name] == pytest.approx(value, rel=1e-6)
        assert float(curve(made)[0][name]) == pytest.approx(value, rel=1e-5)
    ((name, (loss, count)),) = loss_by_source(model, held_out, 32).items()
    assert figures(made)["by_source"] == {
        name: {"before": pytest.approx(loss), "after": pytest.approx(loss), "tokens": count}
    }


def test_training_goes_on_from_the_weights(world):
    model, made = ours(world), job(world)
    run(begun(12), made)
    rows, held_out = curve(made), Shards.load(world / "data/tokenize/validate")
    assert [row["step"] for row in rows] == ["0", "4", "8", "12"]
    first = loss_over(model, held_out, 32, bytes_tokenizer(), at_most=4)
    assert float(rows[0]["validation_loss"]) == pytest.approx(first["validation_loss"], abs=1e-4)
    assert figures(made)["validation_loss"] < first["validation_loss"] - 0.5


def test_weights_that_transformers_saved_are_begun_from(world):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 32, "vocab_size": 257}
    special = {"bos_token_id": None, "eos_token_id": None, "resid_pdrop": 0.0}
    rest = {"embd_pdrop": 0.0, "attn_pdrop": 0.0}
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **special, **rest))
    theirs.save_pretrained(world / "data/download/init")
    (world / "data/download/init/chat_template.jinja").write_text("{{ messages }}\n")
    made = job(world)
    run(begun(0), made)
    saved = checkpoint.load(made.out / "checkpoint")
    assert (saved.kind, saved.template, saved.weights_template) == (
        "foundation", None, "{{ messages }}\n"
    )  # fmt: skip
    found = saved.model
    wanted = huggingface.load(world / "data/download/init")
    assert all(
        torch.equal(a, b)
        for a, b in zip(found.state_dict().values(), wanted.state_dict().values(), strict=True)
    )
    idx = torch.arange(32)[None]
    torch.testing.assert_close(found(idx), theirs.eval()(idx).logits, rtol=1e-4, atol=1e-4)


def test_losses_by_source_are_those_of_each_sources_tokens(world):
    """Beside a slow reference: every token's loss alone. Weighted, they are the whole loss."""
    place, tokenizer, model = world / "mixed", bytes_tokenizer(), decoder()
    place.mkdir()
    texts = [f"{n} of {'abc'[n % 3]}" * (n % 4) for n in range(40)]
    sources = ["abc"[n % 3] for n in range(40)]
    entry = shards.write(place, "00000", texts, tokenizer, sources)
    shards.write_index(place, 257, [entry])
    held_out = Shards.load(place)
    of_token = [source for text, source in zip(texts, sources, strict=True) for _ in text + "e"]
    wanted: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    for n in range(held_out.n_windows(16)):
        ids = torch.tensor(held_out.window(n * 16, 17).astype("int64"))
        logprobs = model(ids[None, :-1])[0].log_softmax(-1)
        for at, target in enumerate(ids[1:].tolist()):
            wanted[of_token[n * 16 + 1 + at]].append(-float(logprobs[at, target].detach()))
    found = loss_by_source(model, held_out, 16)
    assert {name: n for name, (_, n) in found.items()} == {k: len(v) for k, v in wanted.items()}
    for name, losses in wanted.items():
        assert found[name][0] == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    whole = loss_over(model, held_out, 16, tokenizer, None)["validation_loss"]
    total = sum(n for _, n in found.values())
    assert sum(loss * n for loss, n in found.values()) / total == pytest.approx(whole, rel=1e-5)


def test_what_was_continued_is_measured_by_source_before_and_after(world):
    model, made = ours(world), job(world)
    run(begun(12), made)
    held_out = Shards.load(world / "data/tokenize/validate")
    (before,) = loss_by_source(model, held_out, 32).values()
    (found,) = figures(made)["by_source"].values()
    assert found["before"] == pytest.approx(before[0], abs=1e-5)
    assert found["after"] == pytest.approx(figures(made)["validation_loss"], abs=1e-5)
    assert found["tokens"] == before[1]
    assert made.track.seen["final_by_source..after"] == found["after"]


def test_the_context_may_be_made_longer(world):
    ours(world)
    made = job(world)
    run(begun(4, block_size=64), made)
    assert checkpoint.load(made.out / "checkpoint").model.config.block_size == 64
    assert figures(made)["tokens"] == 4 * 4 * 64


def test_weights_of_another_tokenizer_stop_the_stage_with_both_numbers(world):
    ours(world)
    type(bytes_tokenizer())({**{bytes([b]): b for b in range(256)}, b"ab": 256}).save(
        world / "data/tokenizer/bpe"
    )
    for split in ("train", "validate"):
        index = world / f"data/tokenize/{split}/index.json"
        record.write_json(index, record.read_json(index) | {"n_vocab": 258})
    with pytest.raises(UserError, match="the embedding has 257 rows, the tokenizer 258 tokens"):
        run(begun(0), job(world))


def test_compiling_where_it_cannot_work_is_refused_before_any_training(world, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(world / "a cache"))
    made = job(world)
    tree = shape()
    compiled = tree.pretrain.model_copy(update={"compile": True})
    with pytest.raises(UserError, match=r"pretrain\.compile: torch\.compile cannot use .*, whose"):
        run(tree.model_copy(update={"pretrain": compiled}), made)
    assert made.track.seen == {}
    assert not made.state.exists()
