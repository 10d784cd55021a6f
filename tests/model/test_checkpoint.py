"""The checkpoint folder: a round trip, and every kind of damage named in one line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llmill.contract.errors import UserError
from llmill.model import lora, weights
from llmill.model.checkpoint import Checkpoint, load, load_language_model, save, weights_hash
from llmill.model.heads import ClassModel, ScoreModel
from llmill.model.settings import Adapter, Model
from llmill.model.transformer import Transformer
from tests.evaluation.toys import bytes_tokenizer, decoder, headed, masked
from tests.model.peaks import linux, peaks


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "checkpoint", Checkpoint(decoder(), bytes_tokenizer()))
    return tmp_path / "checkpoint"


def test_a_model_comes_back_with_the_same_logits(folder):
    idx = torch.tensor([[1, 2, 3]])
    loaded = load(folder)
    torch.testing.assert_close(loaded.model(idx), decoder()(idx), rtol=0, atol=0)
    assert loaded.model.head.weight is loaded.model.embedding.weight
    assert loaded.tokenizer.encode("abc") == [97, 98, 99]


LOADED = """
import sys
from pathlib import Path
from llmill.contract import runtime
from llmill.model import checkpoint

checkpoint.load(Path(sys.argv[1]))
runtime.start(1, 1)
print([name for name in ("torch._dynamo", "torch._inductor") if name in sys.modules])
"""


def test_a_model_is_read_and_answers_without_the_import_of_torchs_compiler(folder):
    """Which would take a second of every evaluation."""
    words = [sys.executable, "-c", LOADED, str(folder)]
    assert subprocess.run(words, capture_output=True, text=True).stdout == "[]\n"


@linux
def test_loading_needs_the_weights_and_little_more(folder, tmp_path):
    shape = Model(**{**decoder().config.model_dump(), "n_embd": 1024, "n_layer": 8})
    save(tmp_path / "large", Checkpoint(Transformer(shape, 257), bytes_tokenizer()))
    small, large = peaks("checkpoint", folder, tmp_path / "large")
    weights = (tmp_path / "large/model.safetensors").stat().st_size
    assert 100e6 < weights < large - small < 1.2 * weights
    shutil.rmtree(tmp_path / "large")


def test_a_classifier_comes_back_with_its_labels(tmp_path):
    save(tmp_path / "c", Checkpoint(headed(2), bytes_tokenizer(), ["ham", "spam"], 64))
    loaded = load(tmp_path / "c")
    idx, lengths = torch.tensor([[1, 2, 3]]), torch.tensor([3])
    torch.testing.assert_close(loaded.model(idx, lengths), headed(2)(idx, lengths), rtol=0, atol=0)
    assert (loaded.labels, loaded.max_length) == (["ham", "spam"], 64)


def test_a_scorer_comes_back_with_its_decoder_tied(tmp_path):
    save(tmp_path / "s", Checkpoint(headed(1), bytes_tokenizer(), None, 64))
    loaded = load(tmp_path / "s").model
    idx, lengths = torch.tensor([[1, 2, 3]]), torch.tensor([3])
    torch.testing.assert_close(loaded(idx, lengths), headed(1)(idx, lengths), rtol=0, atol=0)
    assert loaded.knows.head.weight is loaded.knows.embedding.weight


def test_the_same_model_gives_the_same_bytes(folder, tmp_path):
    save(tmp_path / "again", Checkpoint(decoder(), bytes_tokenizer()))
    for file in sorted(folder.rglob("*.*")):
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(folder)).read_bytes()


def damaged(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


DAMAGE = [
    (
        lambda t: t.pop("norm.weight"),
        "norm.weight: the file has no such tensor, the model \\(16,\\)",
    ),
    (
        lambda t: t.update(extra=torch.ones(2)),
        "extra: the file has \\(2,\\), the model no such tensor",
    ),
    (lambda t: t.update({"norm.weight": torch.ones(3)}), "norm.weight: the file has \\(3,\\)"),
    (lambda t: t["norm.weight"].fill_(float("nan")), "norm.weight: not all numbers are finite"),
]


@pytest.mark.parametrize(("change", "line"), DAMAGE, ids=["missing", "extra", "shape", "nan"])
def test_tensors_that_do_not_fit_are_named(folder, change, line):
    damaged(folder, change)
    with pytest.raises(UserError, match=line):
        load(folder)


def test_a_file_cut_short_is_named_with_what_to_do(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(
        UserError, match=r"model.safetensors: cut short or damaged .*`dvc checkout`"
    ):
        load(folder)


def test_a_tokenizer_of_another_size_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 300}))
    with pytest.raises(UserError, match="the tokenizer has 257 tokens, the model 300"):
        load(folder)


def test_a_masked_model_comes_back_with_one_id_more_than_its_tokenizer(tmp_path):
    save(tmp_path / "m", Checkpoint(masked(), bytes_tokenizer()))
    loaded = load(tmp_path / "m")
    assert (loaded.tokenizer.n_vocab, loaded.model.vocab_size) == (257, 258)
    idx = torch.tensor([[1, 257, 3]])
    torch.testing.assert_close(loaded.model(idx), masked()(idx), rtol=0, atol=0)


def test_a_masked_model_without_the_id_of_its_mask_is_refused(tmp_path):
    save(tmp_path / "m", Checkpoint(masked(), bytes_tokenizer()))
    config = json.loads((tmp_path / "m/config.json").read_text())
    (tmp_path / "m/config.json").write_text(json.dumps({**config, "vocab_size": 257}))
    with pytest.raises(UserError, match="257 tokens, the model 257 with its mask token; `dvc"):
        load(tmp_path / "m")


def test_a_masked_model_and_a_classifier_are_refused_as_language_models_with_their_use(tmp_path):
    assert load_language_model(saved(tmp_path / "d", decoder())).model.config.causal
    with pytest.raises(UserError) as refused:
        load_language_model(saved(tmp_path / "m", masked()))
    assert str(refused.value) == (
        f"{tmp_path}/m: a masked model (model.causal false) cannot predict the next token; train "
        "classifiers from it: `snakemake --cores all accuracy`"
    )
    with pytest.raises(UserError, match="c: not a language model; use `classify-text` with a clas"):
        load_language_model(saved(tmp_path / "c", headed(2)))


def saved(folder, model):
    save(folder, Checkpoint(model, bytes_tokenizer(), ["ham", "spam"], 64))
    return folder


def test_a_folder_without_a_file_names_it(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model.safetensors: missing"):
        load(folder)


def test_a_checkpoint_of_before_it_said_its_kind_is_still_read():
    """Written in November 2026: a switch that the shape got later has a default."""
    loaded = load(Path(__file__).parent / "checkpoint_of_2026_11")
    logits = loaded.model(torch.tensor([[1, 2, 3]]))[0, -1, :4]
    expected = [-0.0010414, 0.0007452, -0.0022056, -0.0018556]
    torch.testing.assert_close(logits, torch.tensor(expected), rtol=0, atol=1e-6)
    assert (loaded.kind, loaded.made_by) == ("foundation", None)


def test_a_switch_that_a_checkpoint_does_not_name_is_off_or_as_models_were_before_it(tmp_path):
    shutil.copytree(Path(__file__).parent / "checkpoint_of_2026_11", tmp_path / "c")
    file = tmp_path / "c/config.json"
    config = json.loads(file.read_text())
    for name, field in Model.model_fields.items():
        if not field.is_required():
            config["model"].pop(name, None)  # newer switches are not there
    assert config["model"].keys() == {
        "n_layer", "n_head", "n_kv_head", "n_embd", "block_size", "norm", "norm_weight", "position",
        "rotary_base", "mlp", "mlp_hidden", "bias", "tied",
    }  # fmt: skip
    file.write_text(json.dumps(config))
    shape = load(tmp_path / "c").model.config
    assert (shape.causal, shape.norm_epsilon, shape.dropout) == (True, 1e-5, 0)
    assert (shape.norm_embedding, shape.rotary_scaling, shape.qk_norm) == (False, None, False)


def test_a_checkpoint_says_what_it_is_and_what_it_was_made_from(tmp_path):
    saved = Checkpoint(
        decoder(), bytes_tokenizer(), template="{{ text }}", made_by="instruct", begun_from="ab12"
    )
    save(tmp_path / "c", saved)
    loaded = load(tmp_path / "c")
    assert (loaded.kind, loaded.template) == ("assistant", "{{ text }}")
    assert (loaded.made_by, loaded.begun_from) == ("instruct", "ab12")


def test_a_foundation_keeps_the_template_that_its_weights_came_with(tmp_path):
    saved = Checkpoint(decoder(), bytes_tokenizer(), weights_template="{{ text }}")
    save(tmp_path / "c", saved)
    loaded = load(tmp_path / "c")
    assert (loaded.kind, loaded.template, loaded.weights_template) == (
        "foundation", None, "{{ text }}"
    )  # fmt: skip


def test_an_assistant_without_a_template_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"kind": "assistant"}))
    with pytest.raises(UserError, match="an assistant, and nothing else, has a template"):
        load(folder)


SETTINGS = Adapter(rank=2, alpha=4.0, rank_stabilised=False, targets=["query"], dropout=0.0)


def save_adapter(foundation, folder, model, settings=SETTINGS, seed=1, template=None):
    """Train, as it were, a model that begins from a foundation; returns the merged one."""
    lora.add(model, settings)
    torch.manual_seed(seed)
    for parameter in lora.trainable(model).values():
        torch.nn.init.normal_(parameter)
    adapter = lora.taken(model, settings, foundation)
    labels = ["ham", "spam"] if isinstance(model, ClassModel) else None
    made = Checkpoint(
        model.eval(), bytes_tokenizer(), labels, 64,
        begun_from=weights_hash(foundation), adapter=adapter, template=template,
    )  # fmt: skip
    save(folder, made)
    return model


@pytest.fixture
def adapter(folder, tmp_path):
    save_adapter(folder, tmp_path / "tuned/adapter", load(folder).model)
    return tmp_path / "tuned/adapter"


def test_of_an_adapter_nothing_else_is_stored_and_it_comes_back_merged(folder, tmp_path):
    trained = save_adapter(folder, tmp_path / "tuned/adapter", load(folder).model)
    stored = load_file(tmp_path / "tuned/adapter/model.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in stored.items()} == {
        f"blocks.{i}.attention.qkv.adapters.query.{matrix}": shape
        for i in (0, 1)
        for matrix, shape in (("a", (2, 16)), ("b", (16, 2)))
    }
    config = json.loads((tmp_path / "tuned/adapter/config.json").read_text())
    assert (config["foundation"], config["begun_from"]) == (
        "../../checkpoint", weights_hash(folder)
    )  # fmt: skip
    loaded, idx = load(tmp_path / "tuned/adapter"), torch.tensor([[1, 2, 3]])
    assert torch.equal(loaded.model(idx), trained(idx))
    assert not torch.equal(loaded.model(idx), load(folder).model(idx))
    save(tmp_path / "tuned/again", loaded)
    for file in ("config.json", "model.safetensors"):
        one, two = (tmp_path / "tuned" / name / file for name in ("adapter", "again"))
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("n_class", [1, 2])
def test_a_head_learnt_beside_an_adapter_is_stored_with_it(folder, tmp_path, n_class):
    def made():
        body = load(folder).model
        return ScoreModel(body) if n_class == 1 else ClassModel(body, 2)

    trained = save_adapter(folder, tmp_path / "headed", made())
    idx, lengths = torch.tensor([[1, 2, 3]]), torch.tensor([3])
    loaded = load(tmp_path / "headed").model
    assert torch.equal(loaded(idx, lengths), trained(idx, lengths))


def test_an_adapter_on_an_adapter_is_read_with_both_foundations(folder, adapter, tmp_path):
    trained = save_adapter(adapter, tmp_path / "second", load(adapter).model, seed=2)
    idx = torch.tensor([[1, 2, 3]])
    assert torch.equal(load(tmp_path / "second").model(idx), trained(idx))


def test_an_adapter_moves_with_its_foundation(folder, adapter, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for name in ("checkpoint", "tuned"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    assert load(tmp_path / "elsewhere/tuned/adapter").adapter.settings == SETTINGS


def test_an_adapter_of_another_foundation_is_refused_by_its_hash(folder, adapter):
    damaged(folder, lambda tensors: tensors["norm.weight"].add_(1.0))
    with pytest.raises(UserError) as refused:
        load(adapter)
    wanted = json.loads((adapter / "config.json").read_text())["begun_from"]
    assert str(refused.value) == (
        f"{adapter}: an adapter of another foundation: learnt on weights of sha256 '{wanted}', and "
        f"those in {folder} have '{weights_hash(folder)}'; `dvc repro` of its stage learns it anew"
    )


def test_an_adapter_without_its_foundation_names_it(folder, adapter, tmp_path):
    folder.rename(tmp_path / "gone")
    with pytest.raises(UserError, match=rf"adapter, and its foundation {folder} is not there; br"):
        load(adapter)


def test_folders_that_are_each_others_foundation_are_refused(folder, adapter):
    """No weights hold their own hash, so what the config says of them is held against them."""
    config = json.loads((adapter / "config.json").read_text())
    itself = {"foundation": ".", "begun_from": weights_hash(adapter)}
    (adapter / "config.json").write_text(json.dumps(config | itself))
    with pytest.raises(UserError, match=r"not the adapter that .*config.json tells of; `dvc"):
        load(adapter)


ADAPTERS_DAMAGE = {
    "another rank": (
        {"adapter": SETTINGS.model_dump() | {"rank": 3}},
        r"query.a: the file has \(2, 16\), the model \(3, 16\); `dvc checkout`",
    ),
    "more targets": (
        {"adapter": SETTINGS.model_dump() | {"targets": "all"}},
        r"attention.out.adapters.out.a: the file has no such tensor",
    ),
    "no such target": (
        {"adapter": SETTINGS.model_dump() | {"targets": ["gate"]}},
        r"adapter.targets: gate names nothing in this model; it has query, key",
    ),
    "no place": ({"foundation": None}, "an adapter needs foundation and begun_from"),
    "another shape": ({"labels": None, "vocab_size": 257, "model": None}, "an adapter of another shape"),
}  # fmt: skip


@pytest.mark.parametrize("case", ADAPTERS_DAMAGE)
def test_an_adapter_that_does_not_fit_is_one_line(adapter, case):
    changes, line = ADAPTERS_DAMAGE[case]
    config = json.loads((adapter / "config.json").read_text())
    if "model" in changes:
        changes = changes | {"model": config["model"] | {"block_size": 32}}
    (adapter / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(UserError, match=line):
        load(adapter)


def test_weights_of_an_adapter_that_are_not_finite_are_named(adapter):
    file = adapter / "model.safetensors"
    tensors, metadata = load_file(file), weights.metadata(file)
    tensors["blocks.1.attention.qkv.adapters.query.b"].fill_(float("inf"))
    save_file(tensors, file, metadata)
    with pytest.raises(UserError, match=r"1.attention.qkv.adapters.query.b: not all numbers are"):
        load(adapter)
