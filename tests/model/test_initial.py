"""Weights to begin from: ours and of other makers, at another length, with padding cut off."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llmill.contract.errors import UserError
from llmill.model import checkpoint, huggingface, initial, weights_folder
from llmill.model.checkpoint import Checkpoint
from llmill.model.heads import ClassModel, ScoreModel
from llmill.model.settings import FromInit, Model, RotaryScaling
from llmill.model.transformer import Transformer
from llmill.model.weights_folder import Opened
from tests.evaluation.toys import SHAPE, bytes_tokenizer

ROTARY = SHAPE.model_copy(
    update={
        "norm": "rmsnorm", "position": "rotary", "mlp": "swiglu", "bias": False, "tied": False,
        "block_size": 32,
    }
)  # fmt: skip
IDX = torch.arange(64).remainder(50)[None]


def trained(shape: Model) -> Transformer:
    """A model whose every tensor is random."""
    torch.manual_seed(1)
    model = Transformer(shape, 257).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def ours(folder: Path, shape: Model = SHAPE) -> Path:
    checkpoint.save(folder / "ours", Checkpoint(trained(shape), bytes_tokenizer()))
    return folder / "ours"


def theirs(folder: Path, shape: Model, rows: int = 257) -> Path:
    """The same model as Hugging Face's folder, with rows of padding."""
    model = trained(shape)
    padded = Transformer(shape, rows)
    tensors = model.state_dict()
    for name, tensor in padded.state_dict().items():
        tensor.zero_()[: len(tensors[name])].copy_(tensors[name])
    huggingface.save(folder / "theirs", padded, huggingface.fitting(shape), {})
    return folder / "theirs"


def begun(folder: Path, n_vocab: int = 257, **changes: object) -> Transformer:
    shape = initial.shape(FromInit(shape="init", **changes), folder)
    return initial.load(folder, shape, n_vocab)


@pytest.mark.parametrize("shape", [SHAPE, ROTARY], ids=["gpt2", "llama"])
def test_weights_come_as_they_are_from_either_kind_of_folder(tmp_path, shape):
    wanted = trained(shape).state_dict()
    for folder in (ours(tmp_path, shape), theirs(tmp_path, shape)):
        found = begun(folder)
        assert found.config == shape
        assert found.state_dict().keys() == wanted.keys()
        assert all(torch.equal(found.state_dict()[k], wanted[k]) for k in wanted)


def test_a_shape_of_its_own_reads_no_folder(tmp_path):
    assert initial.shape(SHAPE, tmp_path / "nowhere") is SHAPE


def test_a_longer_context_at_the_same_base_gives_the_same_logits_in_the_old_window(tmp_path):
    wanted = trained(ROTARY)(IDX[:, :32])
    longer = begun(ours(tmp_path, ROTARY), block_size=64)
    torch.testing.assert_close(longer(IDX[:, :32]), wanted, rtol=0, atol=0)
    assert longer(IDX).shape == (1, 64, 257)


@pytest.mark.parametrize("shape", [SHAPE, ROTARY], ids=["tied", "untied"])
def test_padding_is_cut_off_without_a_second_model_in_memory(tmp_path, shape, monkeypatch):
    folder, read = theirs(tmp_path, shape, rows=320), []

    def opened(folder: Path) -> Opened:
        source = weights_folder.opened(folder)
        return replace(source, load=lambda: read.append(source.load()) or read[-1])

    monkeypatch.setattr(initial, "opened", opened)
    found = dict(begun(folder).named_parameters())
    kept = {name: weight.data_ptr() for name, weight in read[0].named_parameters()}
    others = [name for name, weight in found.items() if weight.data_ptr() != kept[name]]
    assert others == ["embedding.weight"] + ["head.weight"] * (not shape.tied)
    assert found["embedding.weight"].untyped_storage().nbytes() == 4 * 257 * shape.n_embd


def test_another_base_or_scaling_turns_positions_otherwise_and_changes_no_weight(tmp_path):
    folder, wanted = ours(tmp_path, ROTARY), trained(ROTARY)
    scaling = RotaryScaling(
        factor=4.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_block_size=32
    )
    for changes in ({"rotary_base": 50000.0}, {"rotary_scaling": scaling}):
        found = begun(folder, block_size=64, **changes)
        assert all(torch.equal(a, b) for a, b in zip(
            found.state_dict().values(), wanted.state_dict().values(), strict=True
        ))  # fmt: skip
        assert not torch.allclose(found(IDX[:, :32]), wanted(IDX[:, :32]))
        expected = ROTARY.model_copy(update={"block_size": 64, **changes})
        torch.testing.assert_close(found(IDX), _filled(expected, wanted)(IDX), rtol=0, atol=0)


def _filled(shape: Model, model: Transformer) -> Transformer:
    made = Transformer(shape, 257).eval()
    made.load_state_dict(model.state_dict())
    return made


def test_learned_positions_keep_their_rows_and_get_new_ones_like_them(tmp_path):
    folder, old = ours(tmp_path), trained(SHAPE)
    longer, shorter = begun(folder, block_size=1064), begun(folder, block_size=16)
    rows = longer.position.weight.detach()
    assert torch.equal(rows[:64], old.position.weight)
    assert torch.equal(shorter.position.weight, old.position.weight[:16])
    torch.testing.assert_close(longer(IDX), old(IDX), rtol=0, atol=0)
    torch.testing.assert_close(shorter(IDX[:, :16]), old(IDX[:, :16]), rtol=0, atol=0)
    torch.testing.assert_close(rows[64:].mean(0), rows[:64].mean(0), rtol=0, atol=0.05)
    torch.testing.assert_close(rows[64:].std(0), rows[:64].std(0), rtol=0.1, atol=0)


def test_no_scaling_takes_that_of_the_weights_away_and_leaving_it_out_does_not(tmp_path):
    scaling = RotaryScaling(
        factor=4.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_block_size=16
    )
    folder = ours(tmp_path, ROTARY.model_copy(update={"rotary_scaling": scaling}))
    assert begun(folder).config.rotary_scaling == scaling
    assert begun(folder, dropout=0.1).config.rotary_scaling == scaling
    without = begun(folder, rotary_scaling=None)
    assert without.config == ROTARY
    idx = IDX[:, :32]
    torch.testing.assert_close(without(idx), trained(ROTARY)(idx), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["rotary_base", "rotary_scaling"])
def test_learned_positions_do_not_turn(tmp_path, name):
    scaling = {
        "factor": 4.0, "low_frequency_factor": 1.0, "high_frequency_factor": 4.0,
        "original_block_size": 16,
    }  # fmt: skip
    value = {"rotary_base": 50000.0, "rotary_scaling": scaling}[name]
    for folder in (ours(tmp_path), theirs(tmp_path, SHAPE)):
        line = rf"^params\.yaml: model\.{name}: the weights in .* have learned positions"
        with pytest.raises(UserError, match=line):
            begun(folder, **{name: value})
        assert begun(folder, rotary_scaling=None).config == SHAPE


@pytest.mark.parametrize(
    ("head", "made"),
    [("class", lambda body: ClassModel(body, 2)), ("score", ScoreModel)],
    ids=["class", "score"],
)
def test_another_head_is_refused(tmp_path, head, made):
    saved = Checkpoint(made(trained(SHAPE)), bytes_tokenizer(), ["a", "b"], 32)
    checkpoint.save(tmp_path / "other", saved)
    with pytest.raises(
        UserError, match=rf"config\.json: head {head}; training can start only from a"
    ):
        begun(tmp_path / "other")


def test_dropout_may_be_changed(tmp_path):
    assert begun(ours(tmp_path), dropout=0.1).blocks[0].dropout.p == 0.1


@pytest.mark.parametrize("shape", [SHAPE, ROTARY], ids=["tied", "untied"])
def test_padding_of_the_embedding_is_cut_off(tmp_path, shape):
    found, wanted = begun(theirs(tmp_path, shape, rows=320)), trained(shape)
    assert found.vocab_size == 257
    torch.testing.assert_close(found(IDX[:, :32]), wanted(IDX[:, :32]), rtol=0, atol=0)
    assert (found.head.weight is found.embedding.weight) == shape.tied


@pytest.mark.parametrize("n_vocab", [256 - 128 + 1, 258, 4096])
def test_another_tokenizer_is_refused_with_both_numbers(tmp_path, n_vocab):
    line = f"the embedding has 257 rows, the tokenizer {n_vocab} tokens"
    for folder in (ours(tmp_path), theirs(tmp_path, SHAPE)):
        with pytest.raises(UserError, match=rf"config\.json: {line}"):
            begun(folder, n_vocab)


def test_nan_is_refused_by_both_readers(tmp_path):
    for folder, name in ((ours(tmp_path), "norm.weight"), (theirs(tmp_path, SHAPE), "ln_f.weight")):
        tensors = load_file(folder / "model.safetensors")
        next(v for k, v in tensors.items() if k.endswith(name))[0] = float("nan")
        save_file(tensors, folder / "model.safetensors")
        with pytest.raises(UserError, match=rf"{name}: not all numbers are finite"):
            begun(folder)


def test_a_config_without_a_shape_is_named(tmp_path):
    folder = ours(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    wrongs = (
        {"model": {"n_layer": 0}}, {"model": None}, {"model": ["n_layer"]}, {"vocab_size": None},
        {"vocab_size": "many"}, {"vocab_size": 0}, {"vocab_size": [257]}, {"vocab_size": "257"},
        {"head": "other"}, {"head": None}, {"labels": [1]}, {"max_length": 0}, {"head": "class"}, {"more": 1},
    )  # fmt: skip
    for wrong in (*({**config, **changes} for changes in wrongs), {"head": "next_token"}):
        (folder / "config.json").write_text(json.dumps(wrong))
        with pytest.raises(UserError, match=r"config\.json: not a model's shape"):
            begun(folder)
