"""params.yaml: every mistake is one line with the file, the parameter, the value and what is
allowed.
"""

import re
from pathlib import Path

import pytest
import yaml

from llmill.contract import params
from llmill.contract.errors import UserError
from tests.conftest import ROOT

WORLD = ROOT / "presets" / "world.yaml"


def changed(tmp_path: Path, dotted: str, value: object, preset: Path = WORLD) -> Path:
    """A preset with one value changed; `...` removes it."""
    tree = yaml.safe_load(preset.read_text())
    *path, last = dotted.split(".")
    node = tree
    for part in path:
        node = node[part]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(tree))
    return file


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_preset_fits_the_schema(preset):
    assert params.load(preset).name == preset.stem


MISTAKES = [
    ("pretrain.sed", 1, "unknown parameter 'pretrain.sed'; did you mean 'seed'?"),
    ("pretrain.training.optimizer.lrr", 1, "unknown parameter 'pretrain.training.optimizer.lrr'; did you mean 'lr'?"),
    ("modell", {}, "unknown parameter 'modell'; did you mean 'model'?"),
    ("pretrain.seed", ..., "missing parameter 'pretrain.seed'"),
    ("pretrain.seed", "one", "pretrain.seed = 'one': Input should be a valid integer"),
    ("pretrain.training.optimizer.lr", -1.0, "lr = -1.0: Input should be greater than 0"),
    ("model.norm", "batchnorm", "model.norm = 'batchnorm': Input should be 'layernorm' or 'rmsnorm'"),
    ("model.n_head", 3, "n_embd 128 is not divisible by n_head 3"),
    ("model.n_kv_head", 3, "n_head 4 is not divisible by n_kv_head 3"),
    ("classify.max_length", 300, "classify.max_length 300 is above model.block_size 256"),
    ("classify.max_length", 1, "max_length = 1: Input should be greater than or equal to 2"),
    ("download.text", ["gutenberg"], "must name the same sources"),
    ("download.mmlu", "mmlu", "every other role must be world too"),
    ("tokenizer.kind", "gpt2", "tokenizer.kind gpt2 needs download.tokenizer"),
    ("tokenizer.kind", "init", "tokenizer.vocab_size is null with tokenizer.kind init"),
    ("tokenizer.vocab_size", None, "tokenizer.vocab_size is null with tokenizer.kind init"),
    ("model", {"shape": "init"}, "model.shape init needs download.init"),
    ("model", {"shape": "init", "n_layer": 2}, "unknown parameter 'model.n_layer'; known: shape, block_size"),
    ("model", {"shape": "init", "dropout": 2.0}, "model.dropout = 2.0: Input should be less than 1"),
    ("download.init", "models/world", "download.init models/world needs `model: {shape: init}`"),
    ("pretrain.training.max_steps", 0, "pretrain.training.max_steps 0 trains nothing; only pretrain may, with"),
    ("tokenizer.vocab_size", 100, "vocab_size = 100: Input should be greater than or equal to 257"),
    ("pretrain.training.epochs", 1.0, "exactly one of max_steps and epochs"),
    ("pretrain.training.validate_every", 30, "validate_every 30 is no multiple of log_every 25"),
    ("model.causal", False, "pretrain.objective next_token does not fit model.causal false: masked needs false, next_token true"),
    ("pretrain.objective", "masked", "pretrain.objective masked does not fit model.causal true: masked needs false, next_token true"),
    ("pretrain.objective", "mask", "pretrain.objective = 'mask': Input should be 'next_token' or 'masked'"),
    ("prepare.classification.test_share", 0.95, "leave nothing to train on"),
]  # fmt: skip


def test_texts_of_a_masked_model_are_not_asked_for(tmp_path):
    masked = ROOT / "presets/masked.yaml"
    with pytest.raises(UserError, match=r"prompts must be \[\]: a masked model writes no text"):
        params.load(changed(tmp_path, "pretrain.samples.prompts", ["Gold is"], masked))


@pytest.mark.parametrize(("dotted", "value", "line"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_named_in_one_line(tmp_path, dotted, value, line):
    file = changed(tmp_path, dotted, value)
    with pytest.raises(UserError) as error:
        params.load(file)
    assert line in str(error.value)
    assert str(error.value).startswith(str(file))
    assert "\n" not in str(error.value)


def drawn(tmp_path: Path, text: list[str], **roles: str) -> Path:
    """The world preset with other sources."""
    tree = yaml.safe_load(WORLD.read_text())
    tree["download"] |= {"text": text, **roles}
    tree["prepare"]["weights"] = dict.fromkeys(text, 1.0)
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(tree))
    return file


BEGUN = [
    ("tokenizer.kind", "bpe", "needs tokenizer.kind init: weights know no other tokens"),
    ("tokenizer.kind", "gpt2", "needs tokenizer.kind init: weights know no other tokens"),
    ("download.init", "results/pretrain/checkpoint", "download.init results/pretrain/checkpoint lies in paths.results"),
    ("download.init", "./models/../data/download/init", "lies in paths.data, which the run itself writes; copy it out"),
    ("download.init", "results/.", "lies in paths.results"),
    ("model.block_size", 100, "classify.max_length 128 is above model.block_size 100"),
    ("instruct.training", {"max_steps": 0, "epochs": None}, "instruct.training.max_steps 0 trains nothing"),
]  # fmt: skip


def begun(tmp_path: Path, dotted: str, value: object) -> Path:
    """The world preset from weights, with one value changed."""
    tree = yaml.safe_load(WORLD.read_text())
    tree["download"]["init"], tree["model"] = "models/world", {"shape": "init"}
    tree["tokenizer"] = {"kind": "init", "vocab_size": None}
    tree["pretrain"]["training"]["max_steps"] = 0
    section, field = dotted.split(".")
    old = tree[section].get(field)
    tree[section][field] = old | value if isinstance(value, dict) else value
    if dotted == "tokenizer.kind":
        tree["tokenizer"]["vocab_size"] = 50257 if value == "gpt2" else 512
        tree["download"]["tokenizer"] = "gpt2" if value == "gpt2" else None
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(tree))
    return file


@pytest.mark.parametrize("text", [["world"], ["news"], ["news", "world"], ["world", "news"]])
def test_the_text_of_the_world_is_the_world_its_news_or_both(tmp_path, text):
    assert params.load(drawn(tmp_path, text)).download.text == text


@pytest.mark.parametrize("text", [["gutenberg"], ["world", "gutenberg"], ["news", "gutenberg"]])
def test_the_world_mixes_with_no_other_text(tmp_path, text):
    with pytest.raises(UserError, match=r"download\.text may name only world and news"):
        params.load(drawn(tmp_path, text))


def test_news_needs_the_roles_of_the_world(tmp_path):
    with pytest.raises(UserError, match="every other role must be world too"):
        params.load(drawn(tmp_path, ["news"], mmlu="news"))


@pytest.mark.parametrize(("dotted", "value", "line"), BEGUN, ids=[m[0] for m in BEGUN])
def test_a_mistake_beside_weights_to_begin_from_is_named_in_one_line(tmp_path, dotted, value, line):
    with pytest.raises(UserError) as error:
        params.load(begun(tmp_path, dotted, value))
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_beside_those_of_the_run_may_begin_like_theirs(tmp_path):
    tree = params.load(begun(tmp_path, "download.init", "results-of-may/model"))
    assert tree.download.init_folder == "results-of-may/model"


def test_no_scaling_is_another_change_than_none_asked_for(tmp_path):
    """Also in what a run is recorded and continued by."""
    none = params.load(begun(tmp_path, "model.rotary_scaling", None)).model
    left = params.load(begun(tmp_path, "download.init", "models/world")).model
    assert none.model_dump(mode="json") == {"shape": "init", "rotary_scaling": None}
    assert left.model_dump(mode="json") == {"shape": "init"}


def test_weights_to_begin_from_bring_shape_and_tokenizer_and_may_pass_through(tmp_path):
    tree = params.load(begun(tmp_path, "model.block_size", 512))
    assert tree.model.block_size == 512
    assert tree.model.model_fields_set == {"shape", "block_size"}
    assert tree.download.init_folder == "models/world"
    assert tree.download.sources == ["world"]


def test_a_file_that_is_not_there_or_not_yaml_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no such file; `cp presets/world.yaml params.yaml`"):
        params.load(tmp_path / "params.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    with pytest.raises(UserError, match="not YAML"):
        params.load(broken)


def test_one_e_minus_three_is_a_number_as_it_is_for_dvc(tmp_path):
    text = re.sub(r"\blr: [0-9.]+", "lr: 6e-3", WORLD.read_text())
    file = tmp_path / "params.yaml"
    file.write_text(text)
    assert params.load(file).classify.training.optimizer.lr == 0.006


def test_a_stage_reads_its_own_sections_only():
    chosen = params.select(params.load(WORLD), ["tokenizer"])
    assert chosen.tokenizer.kind == "bpe"
    assert chosen.paths.pretrain == "results/pretrain"
    assert chosen.paths.tokenize == "data/tokenize"
    with pytest.raises(AttributeError, match="section 'pretrain' is not among this stage's"):
        _ = chosen.pretrain


def test_parameters_cannot_be_changed_after_reading():
    tree = params.load(WORLD)
    with pytest.raises(Exception, match="frozen"):
        tree.tokenizer.vocab_size = 2000
