"""The folder of a model: which of the three forms it is."""

import pytest

from llmill.contract.errors import UserError
from llmill.contract.model_folder import form, gguf_file, is_ours


def test_a_folder_is_ours_if_the_tokenizer_has_a_folder_of_its_own(tmp_path):
    (tmp_path / "config.json").write_text('{"head": "next_token"}')
    assert not is_ours(tmp_path)
    (tmp_path / "bpe").mkdir()
    assert is_ours(tmp_path)
    assert not is_ours(tmp_path / "nowhere")


def test_the_form_follows_from_what_lies_there(tmp_path):
    assert form(tmp_path) == form(tmp_path / "nowhere") == "huggingface"
    (tmp_path / "config.json").touch()
    (tmp_path / "a.gguf").touch()
    assert (form(tmp_path), form(tmp_path / "a.gguf")) == ("gguf", "gguf")
    (tmp_path / "model.safetensors").touch()
    assert form(tmp_path) == "huggingface"
    (tmp_path / "bpe").mkdir()
    assert form(tmp_path) == "ours"


def test_several_ggufs_in_a_folder_must_be_told_apart(tmp_path):
    for name in ("a.Q4_0.gguf", "a.Q8_0.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(
        UserError, match=r"several models \(a\.Q4_0\.gguf, a\.Q8_0\.gguf\); name the"
    ):
        gguf_file(tmp_path)
    assert gguf_file(tmp_path / "a.Q8_0.gguf") == tmp_path / "a.Q8_0.gguf"
