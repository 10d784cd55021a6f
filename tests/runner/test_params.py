"""params.yaml: every mistake is one line with the file, the parameter, the value and what is
allowed.
"""

import importlib
import re
import tracemalloc
from collections.abc import Callable
from datetime import date
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import load_yaml

from llmill.contract.errors import UserError
from llmill.runner import params
from llmill.stages import report
from tests.conftest import ROOT, preset, preset_text, preset_values

WORLD = preset_text("world")


def changed(tmp_path: Path, dotted: str, value: object, preset: str = "world") -> Path:
    """A preset with one value changed; `...` removes it."""
    return written(tmp_path, changed_values(dotted, value, preset))


def written(tmp_path: Path, tree: dict[str, Any]) -> Path:
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(tree))
    return file


def changed_values(
    dotted: str, value: object, preset: str = "world", merge: bool = False
) -> dict[str, Any]:
    """The values of `changed`; `merge` changes some fields of several."""
    tree = preset_values(preset)
    *path, last = dotted.split(".")
    node = tree
    for part in path:
        node = node[part]
    if value is ...:
        del node[last]
    else:
        node[last] = node[last] | value if merge and isinstance(value, dict) else value
    return tree


MISTAKES = [
    ("pretrain.sed", 1, "unknown parameter 'pretrain.sed'; did you mean 'seed'?"),
    ("pretrain.training.optimizer.lrr", 1, "unknown parameter 'pretrain.training.optimizer.lrr'; did you mean 'lr'?"),
    ("modell", {}, "unknown parameter 'modell'; did you mean 'model'?"),
    ("pretrain.seed", ..., "missing parameter 'pretrain.seed'"),
    ("model.tied", ..., "missing parameter 'model.tied'"),
    ("model.qk_norm", ..., "model: missing parameter 'qk_norm'"),
    ("model.rotary_scaling", ..., "model: missing parameter 'rotary_scaling'"),
    ("pretrain.seed", "one", "pretrain.seed = 'one': Input should be a valid integer"),
    ("pretrain.training.optimizer.lr", -1.0, "lr = -1.0: Input should be greater than 0"),
    ("model.norm", "batchnorm", "model.norm = 'batchnorm': Input should be 'layernorm' or 'rmsnorm'"),
    ("model.n_head", 3, "n_embd 128 is not divisible by n_head 3"),
    ("model.n_kv_head", 3, "n_head 4 is not divisible by n_kv_head 3"),
    ("classify.max_length", 300, "classify.max_length 300 is above model.block_size 256"),
    ("model.block_size", 250, "pretrain.shorten_rows: 4 does not divide model.block_size 250; set it to [1], or choose divisors"),
    ("pretrain.shorten_rows", [3, 1], "pretrain.shorten_rows: 3 does not divide model.block_size 256"),
    ("classify.max_length", 1, "max_length = 1: Input should be greater than or equal to 2"),
    ("prepare.instruction.weights", {"chats": 2.0}, "prepare.instruction.weights names chats, which is no source of download.instruction: world"),
    ("download.text", ["gutenberg"], "prepare.weights names world, which is no source of download.text: gutenberg"),
    ("tokenizer.kind", "gpt2", "tokenizer.kind gpt2 needs download.tokenizer"),
    ("tokenizer.kind", "init", "tokenizer.vocab_size is null with tokenizer.kind init"),
    ("tokenizer.vocab_size", None, "tokenizer.vocab_size is null with tokenizer.kind init"),
    ("model", {"shape": "init"}, "model.shape init needs download.init"),
    ("instruct.template", "weights", "instruct.template weights: the model does not start from weights"),
    ("instruct.template", "llama", "instruct.template"),
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
    ("classify.adapter.targets", ["q_proj"], "classify.adapter.targets = ['q_proj']: expected all, or some of query, key, value, out, gate, up, down"),
    ("classify.adapter.targets", [], "classify.adapter.targets = []: expected all, or some of query"),
    ("prepare.classification.test_share", 0.95, "leave nothing to train on"),
    ("variants", dict.fromkeys(["last_layer", "last_block", "last_two_blocks", "lora", "all", "all_from_random"], False), "variants: all are off; switch one on, or set download.classification: null"),
]  # fmt: skip


def test_texts_of_a_masked_model_are_not_asked_for(tmp_path):
    with pytest.raises(UserError, match=r"prompts must be \[\]: a masked model writes no text"):
        params.load(changed(tmp_path, "pretrain.samples.prompts", ["Gold is"], "masked"))


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
    tree = preset_values("world")
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
    tree = preset_values("world")
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


OWN = {"file": "own/a.csv", "text": "body", "label": "kind"}


@pytest.mark.parametrize(
    "roles",
    [
        {"text": ["world", "gutenberg"]},
        {"text": ["news"], "mmlu": "mmlu"},
        {"text": ["gutenberg"], "classification": None, "instruction": None, "mmlu": None},
        {"text": ["world", {"file": "own/novel.txt"}], "classification": OWN},
        {"classification": {**OWN, "text": ["title", "body"], "split": "part"}},
        {"classification": {**OWN, "text": 2, "label": 1, "test": "own/b.csv", "delimiter": ";"}},
        {"instruction": {"file": "own/chats.jsonl", "encoding": "cp1252"}},
        {"instruction": ["world", {"file": "own/chats.jsonl"}]},
        {"preference": {"file": "own/pairs.jsonl"}},
        {"mmlu": {"file": "own/a.csv"}},
        {
            "mmlu": {
                "file": "own/a.csv",
                "question": "q",
                "choices": ["a", "b"],
                "answer": "c",
                "dev": "own/b.csv",
            }
        },
    ],
)
def test_roles_mix_and_may_be_null_or_ones_own(tmp_path, roles):
    loaded = params.load(with_roles(tmp_path, roles)).download.model_dump(exclude_unset=True)
    table = roles.get("classification") or {}
    if "text" in table and not isinstance(table["text"], list):  # one column stands for a list
        roles = {**roles, "classification": {**table, "text": [table["text"]]}}
    if isinstance(roles.get("instruction"), dict):  # and so does one source
        roles = {**roles, "instruction": [roles["instruction"]]}
    assert {role: loaded[role] for role in roles} == roles


@pytest.mark.parametrize(
    ("roles", "line"),
    [
        ({"classification": {**OWN, "file": "a.csv"}}, "download.classification.file = 'a.csv': a file of one's own lies in own/"),
        ({"classification": {**OWN, "file": "own/.csv"}}, "download.classification.file = 'own/.csv': a file of one's own cannot be called .csv; rename it"),
        ({"instruction": {"file": "own/sources.json"}}, "a file of one's own cannot be called sources.json; rename it"),
        ({"classification": {**OWN, "file": "own/../a.csv"}}, "download.classification.file = 'own/../a.csv'"),
        ({"classification": {"file": "own/a.csv", "text": "x"}}, "missing parameter 'download.classification.label'"),
        ({"classification": {**OWN, "labels": "x"}}, "unknown parameter 'download.classification.labels'; did you mean 'label'?"),
        ({"classification": {**OWN, "label": 0}}, "download.classification.label = 0: columns are counted from 1"),
        ({"classification": {**OWN, "text": []}}, "download.classification.text = []: one column at least"),
        ({"classification": {**OWN, "text": 1}}, "columns are given by name, or all by number"),
        ({"classification": {**OWN, "split": "a", "test": "own/b.csv"}}, "`split`, a column, or `test`, a file"),
        ({"classification": {**OWN, "test": "own/b/a.csv"}}, "file and test are both called a.csv"),
        ({"mmlu": {"file": "own/a.csv", "choises": ["a"]}}, "unknown parameter 'download.mmlu.choises'; did you mean 'choices'?"),
        ({"mmlu": {"file": "own/a.csv", "choices": []}}, "download.mmlu.choices = []: one column at least"),
        ({"mmlu": {"file": "own/a.csv", "choices": ["a"] * 11}}, "a question has up to 10 choices"),
        ({"mmlu": {"file": "own/a.csv", "dev": "own/b/a.csv"}}, "file and dev are both called a.csv"),
        ({"mmlu": {"file": "own/a.txt"}}, "a table of questions ends in .csv, .tsv, .json, .jsonl, .ndjson, .parquet"),
        ({"classification": 3}, "download.classification = 3: Input should be a valid string"),
        ({"text": [{"file": "own/a.txt", "format": "proes"}]}, "download.text.0.format = 'proes'"),
        ({"text": {"file": "own/a.txt"}}, "download.text: expected a list, e.g. [world, {file: own/novel.txt}]"),
        ({"text": "world"}, "download.text = 'world': expected a list, e.g. [world, {file: own/novel.txt}]"),
        ({"text": ["world", "world"]}, "download.text names 'world' twice"),
        ({"instruction": ["world", "world"]}, "download.instruction names 'world' twice"),
        ({"instruction": []}, "download.instruction = []: List should have at least 1 item"),
        ({"text": [{"file": "own/a.txt"}, {"file": "own/b/a.md"}]}, "download.text names 'a' twice"),
    ],
)  # fmt: skip
def test_a_mistake_about_ones_own_files_is_named_in_one_line(tmp_path, roles, line):
    with pytest.raises(UserError) as error:
        params.load(with_roles(tmp_path, roles))
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def with_roles(tmp_path, roles):
    tree = preset_values("world")
    tree["download"] |= roles
    tree["prepare"]["weights"] = {}
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(tree))
    return file


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
    assert set(tree.download.sources) == {
        ("text", "world"),
        ("classification", "world"),
        ("instruction", "world"),
        ("preference", "world"),
        ("mmlu", "world"),
    }


def test_a_file_that_is_not_there_or_not_yaml_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no such file; `llmill preset world` makes one"):
        params.load(tmp_path / "params.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    with pytest.raises(UserError, match="not YAML"):
        params.load(broken)


ROOTS_OF = "name a folder of its own in the repository"
BAD = [  # rates, weights and time-outs that are no numbers
    ("pretrain.training.optimizer.lr", inf, "lr = inf: Input should be a finite number"),
    ("pretrain.training.optimizer.muon_lr", nan, "muon_lr = nan: Input should be a finite number"),
    ("pretrain.training.optimizer.weight_decay", inf, "weight_decay = inf: Input should be a finite"),
    ("pretrain.training.grad_clip", inf, "grad_clip = inf: Input should be a finite number"),
    ("prepare.weights", {"world": inf}, "prepare.weights.world = inf: Input should be a finite"),
    ("instruct.neftune_alpha", 0.0, "instruct.neftune_alpha = 0.0: Input should be greater than 0"),
    ("instruct.packing", "documents", "instruct.packing = 'documents': Input should be 'none' or"),
    ("instruct.samples", -1, "instruct.samples = -1: Input should be greater than or equal to 0"),
    ("prepare.weights", {"world": -inf}, "prepare.weights.world = -inf: Input should be a finite"),
    ("prepare.validate_share", nan, "validate_share = nan: Input should be a finite number"),
    ("prepare.near_duplicates.similarity", nan, "similarity = nan: Input should be a finite"),
    ("download.timeout", inf, "download.timeout = inf: Input should be a finite number"),
    ("judge.openai.timeout", nan, "judge.openai.timeout = nan: Input should be a finite number"),
    ("model.rotary_base", inf, "model.rotary_base = inf: Input should be a finite number"),
    ("model.dropout", nan, "model.dropout = nan: Input should be a finite number"),
    ("classify.training.epochs", inf, "classify.training.epochs = inf: Input should be a finite"),
    ("pretrain.samples.temperature", inf, "temperature = inf: Input should be a finite number"),
    # seeds that not every library takes
    ("pretrain.seed", 2**64, "pretrain.seed = 18446744073709551616: Input should be less than or equal to 4294967295"),
    ("accuracy.seed", 2**32, "accuracy.seed = 4294967296: Input should be less than or equal to 4294967295"),
    ("grader.seed", -1, "grader.seed = -1: Input should be greater than or equal to 0"),
    ("judge.openai.seed", 10**20, "seed = 100000000000000000000: Input should be less than"),
    ("download.world.seed", 10**40, "seed = a number of more than 30 digits: Input should be less"),
    # what would fill the machine, or never end
    ("accuracy.bootstrap", 10**13, "accuracy.bootstrap = 10000000000000: Input should be less than or equal to 1000000"),
    ("judge.bootstrap", 10**13, "judge.bootstrap = 10000000000000: Input should be less than or equal to 1000000"),
    ("grader.seeds", 10**6, "grader.seeds = 1000000: Input should be less than or equal to 100"),
    ("model.n_layer", 10**9, "model.n_layer = 1000000000: Input should be less than or equal to 4096"),
    ("model.n_embd", 10**9, "model.n_embd = 1000000000: Input should be less than or equal to 131072"),
    ("model.mlp_hidden", 10**10, "model.mlp_hidden = 10000000000: Input should be less than"),
    ("model.block_size", 10**9, "model.block_size = 1000000000: Input should be less than"),
    ("model.norm_epsilon", 1e-300, "norm_epsilon = 1e-300: Input should be greater than or equal to 0.000000000000001"),
    ("tokenizer.vocab_size", 10**8, "vocab_size = 100000000: Input should be less than or equal to 1000000"),
    ("tokenize.processes", 100_000, "tokenize.processes = 100000: Input should be less than or equal to 512"),
    ("pretrain.processes", 100_000, "pretrain.processes = 100000: Input should be less than or equal to 4096"),
    ("pretrain.threads", 10_000, "pretrain.threads = 10000: Input should be less than or equal to 512"),
    ("pretrain.training.max_steps", 10**18, "max_steps = 1000000000000000000: Input should be less than"),
    ("pretrain.training.batch_size", 10**10, "batch_size = 10000000000: Input should be less than"),
    ("grader.training.grad_accum_steps", 10**10, "grad_accum_steps = 10000000000: Input should be less"),
    ("instruct.training.epochs", 1e300, "instruct.training.epochs = 1e+300: Input should be less than"),
    ("instruct.max_new_tokens", 10**9, "instruct.max_new_tokens = 1000000000: Input should be less"),
    ("prepare.weights", {"world": 1e12}, "prepare.weights.world = 1000000000000.0: Input should be less than or equal to 1000"),
    ("prepare.near_duplicates.permutations", 10**9, "permutations = 1000000000: Input should be less than or equal to 1024"),
    ("prepare.near_duplicates.permutations", 1, "permutations = 1: Input should be greater than or equal to 16"),
    ("prepare.contamination.words", 10**12, "words = 1000000000000: Input should be less than"),
    ("prepare.shard_documents", 10**30, "shard_documents = a number of more than 30 digits: Input should be less"),
    ("download.world.repeats", 10**9, "download.world.repeats = 1000000000: Input should be less than"),
    ("download.world.messages", 10**12, "download.world.messages = 1000000000000: Input should be less"),
    ("download.world.questions", 10**9, "download.world.questions = 1000000000: Input should be less"),
    ("download.retries", 10**9, "download.retries = 1000000000: Input should be less than or equal to 1000"),
    ("download.timeout", 1e308, "download.timeout = 1e+308: Input should be less than or equal to 86400"),
    ("judge.openai.prompt", "../score-1", "judge.openai.prompt = '../score-1': no prompt of this name; there are pair-1, pair-without-reference-1, score-1, score-2"),
    ("judge.openai.samples", 0, "judge.openai.samples = 0: Input should be greater than or equal to 1"),
    ("judge.openai.concurrency", 1000, "judge.openai.concurrency = 1000: Input should be less than or equal to 100"),
    ("judge.openai.temperature", 1e-9, "judge.openai.temperature = 1e-09: 0 (always the likeliest token), or"),
    ("judge.openai.budget.tokens", 0, "judge.openai.budget.tokens = 0: Input should be greater than"),
    ("judge.openai.budget.cost", 1.0, "judge.openai: budget.cost needs price.input and price.output"),
    ("judge.openai.retries", 10**9, "judge.openai.retries = 1000000000: Input should be less than"),
    ("grader.responses", 10**9, "grader.responses = 1000000000: Input should be less than or equal to 1000"),
    ("report.examples", 10**9, "report.examples = 1000000000: Input should be less than or equal to 1000"),
    ("mmlu.confidence", 0.9999999999999999, "mmlu.confidence = 0.9999999999999999: Input should be less than or equal to 0.9999"),
    ("pretrain.samples.temperature", 1e-9, "temperature = 1e-09: 0 (always the likeliest token), or 0.0001 or more"),
    # texts
    ("prepare.contamination.words", 3, "shortest 4 is more than words 3, so nothing would be looked for"),
    ("contamination.shortest", 14, "shortest 14 is more than words 13"),
    ("name", "a\x1b[2Jb", r"name = 'a\x1b[2Jb': the control character '\x1b' is no text"),
    ("name", "", "name = '': String should have at least 1 character"),
    ("name", "x" * 251, "xxx': String should have at most 250 characters"),
    ("report.title", "two\nlines", r"report.title = 'two\nlines': the control character '\n' is no text"),
    ("pretrain.samples.prompts", ["one\x07"], r"prompts.0 = 'one\x07': the control character '\x07' is no text"),
    ("mmlu.subjects", ["planets\x9b"], r"subjects.0 = 'planets\x9b': the control character '\x9b' is no text"),
    ("download.mmlu", "wor\u2028ld", r"download.mmlu = 'wor\u2028ld': the control character '\u2028' is no text"),
    ("judge.openai.base_url", "ftp://host/v1", "base_url = 'ftp://host/v1': an http:// or https:// address"),
    ("judge.openai.base_url", "localhost:8000", "base_url = 'localhost:8000': an http:// or https:// address"),
    ("judge.openai.base_url", "http://host:99999", "base_url = 'http://host:99999': Port out of range"),
    ("judge.openai.base_url", "http://[::1", "base_url = 'http://[::1': Invalid IPv6 URL"),
    ("judge.openai.base_url", "https://host/v1?key=1", "such as http://host/v1"),
    ("judge.openai.key_variable", "sk-12 34", "key_variable = 'sk-12 34': String should match pattern"),
    ("pre\x1btrain", 1, r"unknown parameter 'pre\x1btrain'; did you mean 'pretrain'?"),
    ("name", ["x" * 1000] * 50, "name = ['xxxxx"),
    ("name", date(2020, 1, 1), "name = datetime.date(2020, 1, 1): Input should be a valid string"),
    # together
    ("model", {"n_layer": 4096, "n_embd": 65536}, "the model has 7.1e+13 parameters, which no machine holds"),
    ("model", {"block_size": 2**24, "n_embd": 65536}, "pretrain.training.batch_size 8: so many rows of 16777216 tokens of 65536 numbers"),
    ("paths.data", "src", f"paths.data = 'src': 'src' belongs to the repository; {ROOTS_OF}"),
]  # fmt: skip


def refused(file: Path, read: Callable[[], object]) -> str:
    """The line about a file in which a value is of no use, for which nothing was allocated."""
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as error:
            read()
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()
    assert str(error.value).startswith(str(file))
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 600
    return str(error.value)


@pytest.mark.parametrize(("dotted", "value", "line"), BAD, ids=[f"{b[0]}{i}" for i, b in enumerate(BAD)])  # fmt: skip
def test_what_no_run_could_use_is_one_line_and_nothing_is_allocated(dotted, value, line):
    file, values = Path("params.yaml"), changed_values(dotted, value, merge=True)
    assert line in refused(file, lambda: params.check(values, file))


OF_A_FILE = [b for b in BAD if b[0] in ("pretrain.training.grad_clip", "download.world.seed", "mmlu.subjects")]  # fmt: skip


@pytest.mark.parametrize(("dotted", "value", "line"), OF_A_FILE, ids=[b[0] for b in OF_A_FILE])
def test_a_value_of_no_use_is_also_refused_as_it_is_read(tmp_path, dotted, value, line):
    file = written(tmp_path, changed_values(dotted, value, merge=True))
    assert line in refused(file, lambda: params.load(file))


SEED = re.compile(r"^    seed: \d+$", re.MULTILINE)  # the first is the world's
WRITTEN = [("012", 12), ("0o14", 12), ("1_000", 1000), ("&seed 7", 7)]


@pytest.mark.parametrize(("written", "value"), WRITTEN)
def test_a_number_is_the_one_that_dvc_reads(tmp_path, written, value):
    file = tmp_path / "params.yaml"
    file.write_text(SEED.sub(f"    seed: {written}", WORLD, count=1))
    assert params.load(file).download.world.seed == value
    assert load_yaml(file)["download"]["world"]["seed"] == value


TEXTS = [
    ("", "expected sections, found nothing"),
    ("- 1", "expected sections, found list"),
    ("pretrain", "expected sections, found str"),
    (WORLD + "\nname: mine\n", f'line {WORLD.count(chr(10)) + 2}: found duplicate key "name"'),
    (WORLD.replace("lr: 0.008,", "lr: 0.008, lr: 0.1,"), 'found duplicate key "lr"'),
    (WORLD.replace("causal: true ", "causal: yes "), "model.causal = 'yes': Input should be a valid boolean"),
    (WORLD.replace("timeout: 30.0", "timeout: 1:30"), "download.timeout = '1:30': Input should be a valid number"),
    (SEED.sub("    seed: 0x" + "f" * 6000, WORLD, count=1), "seed = a number of more than 30 digits"),
    (WORLD + "#" * 100_000, "above 100,000 bytes"),
    (WORLD + "\n---\nname: world\n", "but found another document"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), TEXTS, ids=[t[1] for t in TEXTS])
def test_a_file_that_dvc_reads_otherwise_or_not_at_all_is_refused(tmp_path, text, line):
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        params.load(file)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_large_is_not_too_large(tmp_path):
    """Published models, a long context, a run of months, a text with marks of other scripts."""
    changes = {
        "model": {"shape": "llama-3-8b"},
        "pretrain": {"processes": 1024, "seed": 2**32 - 1},
        "pretrain.training": {"batch_size": 1024, "max_steps": 10**7, "validate_every": 10**6 * 25},
        "pretrain.samples": {"prompts": ["", "Zeile\n\tזה 😀"], "temperature": 0.0001},
        "accuracy": {"bootstrap": 100_000},
        "judge.openai": {"base_url": "https://user@api.example.org:8443/openai/v1/"},
        "paths": {"data": "data/größer", "results": "runs/2026-07.b"},
    }
    tree = preset_values("world")
    for dotted, fields in changes.items():
        node = tree
        for part in dotted.split("."):
            node = node[part]
        if dotted == "model":
            node.clear()
        node.update(fields)
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(tree))
    assert params.load(file).model.n_layer == 32


def test_a_stage_reads_its_own_sections_only():
    tree = preset("world")
    stages = params.stages(tree, ROOT / "dvc.yaml")
    for stage in stages.values():
        kind = importlib.import_module(f"llmill.stages.{stage.name}").Parameters
        chosen = params.select(tree, kind, stage)
        assert chosen.model_dump(mode="json") == params.values(tree, stage.sections)
    with pytest.raises(AttributeError):
        _ = chosen.pretrain


def test_dvc_yaml_and_a_stage_must_name_the_same_sections():
    tree = preset("world")
    stage = params.stages(tree, ROOT / "dvc.yaml")["pretrain"]
    one_line = (
        r"dvc.yaml: pretrain lists params \['model', 'pretrain', 'runtime'\], its class Parameters "
        r"\['report'\]; make them agree"
    )
    with pytest.raises(UserError, match=one_line):
        params.select(tree, report.Parameters, stage)


def test_parameters_cannot_be_changed_after_reading():
    tree = preset("world")
    with pytest.raises(Exception, match="frozen"):
        tree.tokenizer.vocab_size = 2000


def test_an_adapter_has_no_weights_to_interpolate():
    values = preset_values("world")
    values["instruct"]["adapter"] = {
        "rank": 4, "alpha": 8.0, "rank_stabilised": False, "targets": "all", "dropout": 0.0,
        "dora": False,
    }  # fmt: skip
    with pytest.raises(
        UserError, match=r"instruct: an adapter has no weights to interpolate; set one"
    ):
        params.check(values, Path("params.yaml"))
