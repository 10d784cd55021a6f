"""GGUF files that llmill writes: what it reads back, and what the library says of them."""

import numpy as np
import pytest
import torch

from llmill.contract.errors import UserError
from llmill.model import gguf
from llmill.model.gguf_out import Said, lacking, rounded, save
from llmill.model.settings import RotaryScaling
from llmill.model.transformer import Transformer
from llmill.text.files import gguf_file
from llmill.text.tokenization import gguf_tokenizer, patterns
from llmill.text.tokenization.tokenizer import Tokenizer, train
from tests.evaluation.toys import bytes_tokenizer, decoder
from tests.model.test_transformer import GPT2, LLAMA, MODERN
from tests.text.test_tokenizer import TEXTS

library = pytest.importorskip("gguf", reason="the package gguf is not installed")

WIDE = {"n_embd": 64, "n_head": 4, "n_kv_head": 4, "mlp_hidden": 96, "block_size": 64}
SCALING = RotaryScaling(
    factor=8.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_block_size=32
)


def made(shape) -> tuple[Transformer, Tokenizer]:
    tokenizer = train(TEXTS, 264)
    torch.manual_seed(1)
    model = Transformer(
        shape.model_copy(update={**WIDE, "n_kv_head": 2 if shape is LLAMA else 4}), 264
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval(), tokenizer


@pytest.mark.parametrize("shape", [GPT2, LLAMA], ids=["gpt2", "llama"])
@pytest.mark.parametrize("numbers", ["float16", "bfloat16", "q8_0"])
def test_what_is_read_back_is_what_was_written_but_for_the_rounding(shape, numbers, tmp_path):
    model, tokenizer = made(shape)
    file = tmp_path / "model.gguf"
    save(file, model, tokenizer, Said("a name", "{{ messages }}", True), numbers)
    save(tmp_path / "again.gguf", model, tokenizer, Said("a name", "{{ messages }}", True), numbers)
    assert (tmp_path / "again.gguf").read_bytes() == file.read_bytes()
    back = gguf.load(file).state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(back[name], rounded(name, tensor, numbers)), name
        torch.testing.assert_close(back[name], tensor, rtol=0.01, atol=0.01)
    source = gguf_file.read(file)
    again = gguf_tokenizer.read(source)
    assert (again.ranks, again.special, again.ends) == (tokenizer.ranks, tokenizer.special, {263})
    assert gguf_tokenizer.template(source) == "{{ messages }}"
    assert source.values["general.name"] == "a name"
    assert source.values["tokenizer.ggml.add_bos_token"] is True
    kinds = {name: tensor.tensor_type.name for name, tensor in source.tensors.items()}
    assert kinds["output_norm.weight"] == "F32"
    assert (
        kinds["blk.1.ffn_up.weight"]
        == {"float16": "F16", "bfloat16": "BF16", "q8_0": "Q8_0"}[numbers]
    )


def test_all_ends_of_a_tokenizer_are_written(tmp_path):
    model, tokenizer = made(LLAMA)
    tokenizer.ends |= {5, 7}
    save(tmp_path / "a.gguf", model, tokenizer, Said("x", None, False), "float16")
    values = gguf_file.read(tmp_path / "a.gguf").values
    ends = [values[f"tokenizer.ggml.{name}_token_id"] for name in ("eos", "eot", "eom")]
    assert ends == [263, 5, 7]
    assert values["tokenizer.ggml.add_bos_token"] is False


def test_rows_that_are_no_whole_number_of_blocks_are_float16():
    wide, narrow = torch.randn(4, 64), torch.randn(4, 40)
    assert torch.equal(rounded("a", narrow, "q8_0"), narrow.half().float())
    assert not torch.equal(rounded("a", wide, "q8_0"), wide.half().float())
    assert torch.equal(rounded("position.weight", wide, "q8_0"), wide)


def test_numbers_that_float16_does_not_hold_are_named(tmp_path):
    model, tokenizer = made(LLAMA)
    with torch.no_grad():
        model.blocks[0].mlp.down.weight[0, 0] = 70_000.0
    with pytest.raises(
        UserError, match=r"export\.gguf float16: blk\.0\.ffn_down\.weight has numbers"
    ):
        save(tmp_path / "a.gguf", model, tokenizer, Said("x", None, True), "float16")
    save(tmp_path / "b.gguf", model, tokenizer, Said("x", None, True), "bfloat16")


def test_rotary_positions_of_a_longer_context_are_written_as_factors():
    """The literal values are those of llama.cpp's conversion (generate_extra_tensors of Llama)."""
    factors = gguf.slower(500.0, 16, SCALING)
    wanted = []
    for frequency in 1 / 500.0 ** (np.arange(0, 16, 2) / 16):
        wavelength = 2 * np.pi / frequency
        if wavelength < 32 / 4.0:
            wanted.append(1.0)
        elif wavelength > 32 / 1.0:
            wanted.append(8.0)
        else:
            smooth = (32 / wavelength - 1.0) / (4.0 - 1.0)
            wanted.append(1 / ((1 - smooth) / 8.0 + smooth))
    assert factors.tolist() == pytest.approx(wanted, rel=1e-5)
    assert len({round(value, 3) for value in wanted}) > 2


def test_what_llama_cpp_does_not_have_is_said():
    assert lacking(Transformer(MODERN, 264), train(TEXTS, 264)) == (
        "llama.cpp has no architecture with these switches of `model`"
    )
    own = Tokenizer({bytes([b]): b for b in range(256)}, pattern=r"\w+|\W")
    assert lacking(decoder(), own) == "llama.cpp has no name for this way of cutting text"
    odd = Tokenizer({**{bytes([b]): b for b in range(256)}, b"abc": 256})
    assert lacking(decoder(), odd) == "llama.cpp cannot merge some of these tokens"
    assert lacking(decoder(), bytes_tokenizer()) is None
    assert set(gguf_tokenizer.NAMES) == {patterns.PATTERN, patterns.DIGITS, patterns.LLAMA3}
