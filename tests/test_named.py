"""A model by its name: what `chat` and `serve` open, ours and Hugging Face's."""

from pathlib import Path

import pytest
import torch

from llmill import named
from llmill.chat import Settings, open_talk
from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.model import checkpoint, huggingface
from llmill.model.checkpoint import Checkpoint
from llmill.stages.export import tokenizer_config
from llmill.tasks import prompt
from llmill.text import tokenizer_json
from tests.evaluation.toys import bytes_tokenizer, decoder, headed

SHORT = Settings(max_new_tokens=9)


def published(folder: Path, model, chat: str | None = None, labels=None) -> Path:
    """A folder as stage `export` writes it."""
    architecture = huggingface.fitting(model.config)
    special = {"bos_token_id": 256, "eos_token_id": 256}
    huggingface.save(folder, model, architecture, special, labels=labels)
    tokenizer_json.write(bytes_tokenizer(), folder / "tokenizer.json")
    settings = tokenizer_config(Checkpoint(model, bytes_tokenizer()), chat)
    record.write_json(folder / "tokenizer_config.json", settings)
    return folder


@pytest.mark.parametrize("stage", ["pretrain", "instruct"])
def test_what_was_exported_answers_as_the_checkpoint_does(tmp_path, stage):
    ours = tmp_path / stage / "checkpoint"
    checkpoint.save(ours, Checkpoint(decoder(block_size=512), bytes_tokenizer()))
    chat = prompt.CHAT_TEMPLATE if stage == "instruct" else None
    theirs = published(tmp_path / "model", decoder(block_size=512), chat)
    said = [
        [list(talk.answer(text)) for text in ("One", "Two")]
        for talk in (open_talk(str(folder), SHORT) for folder in (ours, theirs))
    ]
    assert said[0] == said[1] != [[], []]
    assert named.language_model(str(theirs)).assistant == (stage == "instruct")


def test_another_makers_chat_template_makes_no_assistant(tmp_path):
    folder = published(tmp_path / "model", decoder(), "{{ messages[0]['content'] }}")
    assert not named.language_model(str(folder)).assistant


def test_published_weights_are_had_in_bfloat16(tmp_path):
    made = named.language_model(str(published(tmp_path / "model", decoder())), "bfloat16")
    assert {p.dtype for p in made.model.parameters()} == {torch.bfloat16}


def test_a_classifier_of_another_library_and_a_folder_without_tokenizer_are_one_line(tmp_path):
    classifier = published(tmp_path / "classifier", headed(2), labels=["ham", "spam"])
    with pytest.raises(
        UserError, match=r"classifier: score\.weight: a tensor that llmill does not know"
    ):
        named.language_model(str(classifier))
    bare = published(tmp_path / "bare", decoder())
    (bare / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="bare: no tokenizer beside the weights; it would be bpe/"):
        named.language_model(str(bare))
