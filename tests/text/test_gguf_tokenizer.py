"""Tokenizers in the metadata of GGUF files: the ids that their makers' own library gives."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmill.contract.errors import UserError
from llmill.text.files import gguf_file
from llmill.text.tokenization import gguf_tokenizer, model_tokenizer
from tests.model import ggufs
from tests.text.test_hf_tokenizer import SAMPLES, drawn, gpt2, llama3, same, smollm2

pytest.importorskip("gguf", reason="the package gguf is not installed")

PRE = {gpt2: "gpt-2", smollm2: "smollm", llama3: "llama-bpe"}


def values(made, pre: str, end: str) -> dict[str, Any]:
    """The metadata that llama.cpp's conversion writes of a tokenizer of Hugging Face's."""
    tree = json.loads(made.to_str())
    special = {token["content"]: token["id"] for token in tree["added_tokens"]}
    ids = {i: token for token, i in (tree["model"]["vocab"] | special).items()}
    tokens = [ids[i] for i in range(len(ids))]
    return {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3 if token in special else 1 for token in tokens],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in tree["model"]["merges"]],
        "tokenizer.ggml.eos_token_id": special[end],
    }  # fmt: skip


def file_of(folder: Path, **fields: Any) -> Path:
    ggufs.write(folder / "a.gguf", "llama", fields, {})
    return folder / "a.gguf"


@pytest.mark.parametrize("maker", PRE)
def test_every_text_gets_the_ids_that_its_makers_library_gives(maker, tmp_path):
    theirs = maker()
    end = "<|end_of_text|>" if maker is llama3 else "<|endoftext|>"
    made = model_tokenizer.read(file_of(tmp_path, **values(theirs, PRE[maker], end)))
    assert made.end_name == end
    same(theirs, made, [*SAMPLES, *drawn(500)])


def test_ends_begin_and_template_come_from_the_metadata(tmp_path):
    fields = values(smollm2(), "smollm", "<|im_end|>") | {
        "tokenizer.ggml.eot_token_id": 0, "tokenizer.ggml.eom_token_id": 99_999,
        "tokenizer.ggml.bos_token_id": 1, "tokenizer.chat_template": "{{ messages }}",
    }  # fmt: skip
    source = gguf_file.read(file_of(tmp_path, **fields))
    made = gguf_tokenizer.read(source)
    assert (made.end_name, made.ends) == ("<|im_end|>", {0, 2})
    assert gguf_tokenizer.begins(source) == 1
    assert gguf_tokenizer.template(source) == "{{ messages }}"


def test_a_template_that_reads_its_first_and_last_token_says_what_they_are(tmp_path):
    fields = values(smollm2(), "smollm", "<|im_end|>") | {
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.chat_template": "{{ bos_token ~ eos_token }}",
    }
    assert gguf_tokenizer.template(gguf_file.read(file_of(tmp_path, **fields))) == (
        '{% set bos_token = "<|im_start|>" %}\n{% set eos_token = "<|im_end|>" %}\n'
        "{{ bos_token ~ eos_token }}"
    )


def test_an_old_gpt2_without_a_word_for_its_way_of_cutting_is_cut_as_gpt2(tmp_path):
    fields = values(gpt2(), "gpt-2", "<|endoftext|>")
    del fields["tokenizer.ggml.pre"]
    ggufs.write(tmp_path / "a.gguf", "gpt2", fields, {})
    same(gpt2(), model_tokenizer.read(tmp_path / "a.gguf"), SAMPLES)
    with pytest.raises(UserError, match=r"tokenizer\.ggml\.pre = None: not a way of cutting"):
        model_tokenizer.read(file_of(tmp_path, **fields))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tokenizer.ggml.tokens": None}, "tokenizer.ggml.tokens: missing, or no list"),
        ({"tokenizer.ggml.token_type": [1, 2]}, "579 tokens, but 2 kinds of them"),
        ({"tokenizer.ggml.eos_token_id": "end"}, "eos_token_id = 'end': must be a whole number"),
        ({"tokenizer.ggml.merges": ["Ġ t", "x y z"]}, r"merge .* is no pair"),
        ({"tokenizer.ggml.merges": ["Ġ t"]}, "no merge makes"),
        ({"tokenizer.ggml.model": 3}, "tokenizer.ggml.model = 3: must be a text"),
    ],
)
def test_metadata_that_make_no_tokenizer_are_one_line(changes, reason, tmp_path):
    fields = values(gpt2(), "gpt-2", "<|endoftext|>") | changes
    with pytest.raises(UserError, match=reason):
        model_tokenizer.read(file_of(tmp_path, **fields))


def test_an_added_token_that_is_not_special_is_refused(tmp_path):
    fields = values(gpt2(), "gpt-2", "<|endoftext|>")
    fields["tokenizer.ggml.token_type"][5] = 4
    with pytest.raises(UserError, match=r"added token '.*' is not special"):
        model_tokenizer.read(file_of(tmp_path, **fields))
