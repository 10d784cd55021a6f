"""A model by its name: what `chat` and `serve` open, ours and Hugging Face's."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llmill import models
from llmill.chat import Settings, guess, open_talk
from llmill.contract import record, skipped
from llmill.contract.errors import UserError
from llmill.model import checkpoint
from llmill.model.checkpoint import Checkpoint
from llmill.model.generate import generate
from llmill.model.int8 import Int8Linear, in_int8
from llmill.model.transformer import Transformer
from llmill.serve.served import opened
from llmill.stages import export
from llmill.tasks.templates import ALPACA, CHATML
from llmill.text.tokenization.tokenizer import Tokenizer
from tests.conftest import ROOT, preset_text
from tests.evaluation.toys import SHAPE, bytes_tokenizer, decoder, headed
from tests.model import ggufs
from tests.model.test_checkpoint import save_adapter
from tests.model.test_generate import needs_fbgemm

SHORT = Settings(max_new_tokens=9)


def published(folder: Path, model, chat: str | None = None, labels=None) -> Path:
    """A folder as stage `export` writes it."""
    export.write(folder, Checkpoint(model, bytes_tokenizer(), labels, 48, template=chat))
    return folder


@pytest.mark.parametrize("chat", [None, ALPACA])
def test_what_was_exported_answers_as_the_checkpoint_does(tmp_path, chat):
    ours = tmp_path / "anything"
    checkpoint.save(ours, Checkpoint(decoder(block_size=512), bytes_tokenizer(), template=chat))
    theirs = published(tmp_path / "model", decoder(block_size=512), chat)
    said = [
        [list(talk.answer(text)) for text in ("One", "Two")]
        for talk in (open_talk(str(folder), SHORT) for folder in (ours, theirs))
    ]
    assert said[0] == said[1] != [[], []]
    assert models.language_model(str(theirs)).assistant == (chat is not None)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_adapters_that_are_served_together_share_one_foundation_in_memory(tmp_path, dtype):
    foundation = tmp_path / "pretrain/checkpoint"
    checkpoint.save(foundation, Checkpoint(decoder(), bytes_tokenizer()))
    for seed, name in enumerate(("one", "two")):
        body = checkpoint.load(foundation).model
        save_adapter(foundation, tmp_path / name / "checkpoint", body, seed=seed)
    names = [str(tmp_path / name) for name in ("one", "pretrain", "two")]
    made = [each.language.model for each in opened(names, dtype).values()]
    places = [
        {name: p.data_ptr() for name, p in each.named_parameters() if "adapters" not in name}
        for each in made
    ]
    assert places[0] == places[1] == places[2]
    idx, near = torch.tensor([[1, 2, 3]]), 1e-5 if dtype == "float32" else 0.1
    for name, model in zip(names, made, strict=True):
        wanted = models.language_model(name).model(idx)
        torch.testing.assert_close(model(idx).float(), wanted, rtol=0, atol=near)
    assert not torch.allclose(made[0](idx), made[2](idx), atol=1.0)


def test_a_foundation_model_is_no_assistant_in_whatever_folder_it_lies(tmp_path):
    folder = tmp_path / "instruct/checkpoint"
    checkpoint.save(folder, Checkpoint(decoder(), bytes_tokenizer()))
    assert not models.language_model(str(folder)).assistant


PLAIN = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}assistant:"


def test_an_assistant_ends_as_its_template_ends_an_answer_whatever_its_config_says(tmp_path):
    """Of ChatML with no more than `<|endoftext|>` among the ends of a text."""
    plain = bytes_tokenizer()
    special = {**plain.special, "<|im_start|>": 257, "<|im_end|>": 258}
    tokenizer = Tokenizer(plain.ranks, plain.pattern, special, plain.end_name)
    folder = tmp_path / "model"
    model = Transformer(SHAPE, 259)
    export.write(folder, Checkpoint(model, tokenizer, None, 48, template=CHATML))
    assert tokenizer.ends == {256}
    for name in ("config.json", "generation_config.json"):
        if (folder / name).exists():
            settings = record.read_json(folder / name) | {"eos_token_id": 256}
            record.write_json(folder / name, settings)
    assert models.language_model(str(folder)).tokenizer.ends == {256, 258}


def test_another_makers_chat_template_is_talked_in(tmp_path):
    folder = published(tmp_path / "model", decoder(block_size=512), PLAIN)
    talk = open_talk(str(folder), SHORT, system="S")
    first = "".join(talk.answer("One"))
    ids = b"system: S\nuser: One\nassistant: " + first.encode() + b"\nuser: Two\nassistant:"
    assert talk._ids("Two") == [*ids]
    assert models.language_model(str(folder)).assistant


def test_a_template_that_is_none_is_one_line_with_its_file(tmp_path):
    folder = published(tmp_path / "model", decoder(), "{% if %}")
    with pytest.raises(UserError, match=r"model: the chat template, line 1: Expected"):
        models.language_model(str(folder))


def test_published_weights_are_had_in_bfloat16(tmp_path):
    made = models.language_model(str(published(tmp_path / "model", decoder())), "bfloat16")
    assert {p.dtype for p in made.model.parameters()} == {torch.bfloat16}


@needs_fbgemm
def test_published_weights_are_had_in_eight_bits_and_stay_as_they_are_on_disk(tmp_path):
    folder = published(tmp_path / "model", decoder(block_size=512))
    before = {file: file.read_bytes() for file in folder.iterdir()}
    talk = open_talk(str(folder), SHORT, "int8")
    made = talk.language.model
    kinds = {type(part) for part in made.modules()}
    assert Int8Linear in kinds and torch.nn.Linear not in kinds
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    ids = talk.language.completed("One")
    (new,) = generate(made, [ids], max_new_tokens=9, end_of_text=256)
    assert "".join(talk.answer("One")) == bytes_tokenizer().decode(new)


@needs_fbgemm
def test_in_eight_bits_each_adapter_is_merged_by_itself(tmp_path):
    foundation = tmp_path / "pretrain/checkpoint"
    checkpoint.save(foundation, Checkpoint(decoder(), bytes_tokenizer()))
    body = checkpoint.load(foundation).model
    save_adapter(foundation, tmp_path / "one/checkpoint", body, seed=0)
    names = [str(tmp_path / name) for name in ("pretrain", "one")]
    idx = torch.tensor([[1, 2, 3]])
    for name, served in opened(names, "int8").items():
        wanted = in_int8(models.language_model(name).model)
        torch.testing.assert_close(served.language.model(idx), wanted(idx))


def test_an_assistant_that_transformers_saved_again_is_one(tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = published(tmp_path / "model", decoder(block_size=512), ALPACA)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    (folder / "tokenizer_config.json").unlink()
    tokenizer.save_pretrained(folder)
    assert "chat_template" not in record.read_json(folder / "tokenizer_config.json")
    assert models.language_model(str(folder)).assistant


def test_a_text_begins_behind_the_token_that_the_config_names(tmp_path):
    folder = published(tmp_path / "model", decoder())
    config = record.read_json(folder / "config.json")
    for begins, first in ((7, 7), (None, 256), (999, 256)):
        record.write_json(folder / "config.json", config | {"bos_token_id": begins})
        assert models.language_model(str(folder)).completed("A") == [first, 65]


@pytest.mark.parametrize("named", ["model", "model/a.gguf"])
def test_weights_in_one_gguf_file_are_opened_by_file_or_folder(tmp_path, monkeypatch, named):
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    transformers = pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        published(tmp_path / "hf", decoder(block_size=256))
    )
    values = ggufs.shape(theirs) | ggufs.bytes_tokens(256)
    for chat, begins in ((None, 65), (ALPACA, 999)):
        values |= {"tokenizer.chat_template": chat, "tokenizer.ggml.bos_token_id": begins}
        (tmp_path / "model").mkdir(exist_ok=True)
        ggufs.write(tmp_path / "model/a.gguf", "gpt2", values, ggufs.tensors(theirs))
        made = models.language_model(named)
        assert made.assistant == (chat is not None)
        assert made.completed("B") == [begins if begins < 257 else 256, 66]
        assert torch.equal(made.model.embedding.weight, theirs.transformer.wte.weight)
    talk = open_talk(named, SHORT)
    wanted = open_talk(str(tmp_path / "hf"), SHORT)
    wanted.language = replace(wanted.language, template=talk.language.template)
    assert list(talk.answer("One")) == list(wanted.answer("One"))


def test_a_folder_that_is_no_language_model_is_refused_in_one_line(tmp_path):
    folder = published(tmp_path / "classifier", headed(2), labels=["ham", "spam"])
    with pytest.raises(UserError, match="classifier: GPT2ForSequenceClassification: no language"):
        models.language_model(str(folder))
    with pytest.raises(
        UserError, match="classifier: a Hugging Face model; use transformers' pipeline"
    ):
        guess(str(folder), ["text"])
    bare = published(tmp_path / "bare", decoder())
    (bare / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="bare: no tokenizer beside the weights; it would be bpe/"):
        models.language_model(str(bare))


def test_a_checkpoint_of_ours_without_its_tokenizer_says_how_to_have_it_back(tmp_path):
    folder = tmp_path / "checkpoint"
    checkpoint.save(folder, Checkpoint(decoder(), bytes_tokenizer()))
    shutil.rmtree(folder / "bpe")
    with pytest.raises(UserError, match=r"bpe.*missing; .*dvc"):
        models.language_model(str(folder))


def test_a_mistyped_model_is_named_whether_or_not_there_are_stages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match=r"^some/model: no such folder or file, and there are no stages here"
    ):
        models.located("some/model")
    with pytest.raises(
        UserError, match=r"^why is t.*\.\.\.: not a model's name \(File name too long"
    ):
        models.located("why is the sky blue? " * 20)


def test_a_stage_that_was_skipped_says_why(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(preset_text("smoke"))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    skipped.write(tmp_path / "results/classify/lora", "variants.lora is false")
    with pytest.raises(UserError, match=r"^classify/lora: .* skipped: variants.lora is false$"):
        models.located("classify/lora")


@pytest.mark.parametrize("name", ["empty", "/nowhere/model"])
def test_a_folder_without_a_model_is_named_as_it_was_given(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"^{name}: no model's folder, for it has no config.json$"):
        models.located(name)
