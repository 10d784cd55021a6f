"""One door: the same model in each of the three forms is opened alike."""

from pathlib import Path

import pytest
import torch

from llmill.model import checkpoint, gguf_out
from llmill.model.checkpoint import Checkpoint
from llmill.model.gguf_out import Said
from llmill.model.weights_folder import opened
from llmill.stages import export
from llmill.text.tokenization import model_tokenizer
from tests.evaluation.toys import bytes_tokenizer, decoder

TEMPLATE = "{{ messages[0]['content'] }}"  # names no token, so nothing is set before it


def made() -> Checkpoint:
    tokenizer = bytes_tokenizer()
    tokenizer.ends |= {10}
    model = decoder()
    with torch.no_grad():  # numbers that float16 holds, too
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())
    return Checkpoint(model, tokenizer, template=TEMPLATE)


def ours(folder: Path) -> Path:
    checkpoint.save(folder, made())
    return folder


def huggingface(folder: Path) -> Path:
    export.write(folder, made())
    return folder


def gguf(folder: Path) -> Path:
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    saved = made()
    said = Said("toy", saved.template, True)
    gguf_out.save(folder / "toy.gguf", saved.model, saved.tokenizer, said, "float16")
    return folder


def gguf_file(folder: Path) -> Path:
    return gguf(folder) / "toy.gguf"


@pytest.mark.parametrize("form", [ours, huggingface, gguf, gguf_file])
def test_a_model_of_any_form_answers_alike(form, tmp_path):
    place, wanted = form(tmp_path / "model"), made()
    source = opened(place)
    assert source.form == form.__name__.removesuffix("_file")
    assert (source.shape, source.rows, source.template) == (wanted.model.config, 257, TEMPLATE)
    assert source.begins == (None if form is ours else 256)
    assert source.said_in.is_file()
    state = source.load().state_dict()
    assert all(torch.equal(state[name], t) for name, t in wanted.model.state_dict().items())
    tokenizer = model_tokenizer.read(place)
    assert tokenizer.ranks == wanted.tokenizer.ranks
    assert (tokenizer.end_of_text, tokenizer.ends) == (256, {10, 256})
