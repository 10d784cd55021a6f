"""The checkpoint folder: a round trip, and every kind of damage named in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llmill.contract.errors import UserError
from llmill.model.checkpoint import Checkpoint, load, load_language_model, save
from tests.evaluation.toys import bytes_tokenizer, decoder, headed, masked


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


def test_what_knows_no_next_token_is_no_language_model_and_the_line_says_what_it_is_for(tmp_path):
    assert load_language_model(saved(tmp_path / "d", decoder())).model.config.causal
    with pytest.raises(UserError) as refused:
        load_language_model(saved(tmp_path / "m", masked()))
    assert str(refused.value) == (
        f"{tmp_path}/m: a masked model (model.causal false) knows no next token; classifiers can "
        "be made from it: `snakemake --cores all accuracy`"
    )
    with pytest.raises(UserError, match="c: no language model; a classifier answers to `classify-"):
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
