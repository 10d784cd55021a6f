"""GGUF files: what llama.cpp's conversion writes of a model computes the same here, quantised or
not; the published SmolLM2 as transformers' own reader has it; what cannot be read is one line.
"""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from llmill.contract.errors import UserError
from llmill.model import gguf
from llmill.model.generate import generate
from llmill.text.tokenization import model_tokenizer
from tests.conftest import ROOT
from tests.model import ggufs
from tests.model.test_huggingface import LLAMA3, gpt2, llama

library = pytest.importorskip("gguf", reason="the package gguf is not installed")

SMOLLM2 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# Widths are multiples of 32, a block of the quantised types.
WIDE = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2}  # fmt: skip
MADE = {
    "llama, grouped heads": lambda: llama(**WIDE, rope_parameters={"rope_type": "default", "rope_theta": 5e4}),
    "llama, tied": lambda: llama(**WIDE, tie_word_embeddings=True, rms_norm_eps=1e-5),
    "llama, biases": lambda: llama(**WIDE, attention_bias=True, mlp_bias=True),
    "gpt2": gpt2,
    "gpt2, narrow, untied": lambda: gpt2(n_inner=64, tie_word_embeddings=False),
}  # fmt: skip


@pytest.fixture(params=MADE)
def theirs(request):
    torch.manual_seed(1)
    model = MADE[request.param]().float().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=0.05, std=0.2)
    return model


def tokens(count: int = 100) -> torch.Tensor:
    return torch.randint(96, (2, count), generator=torch.Generator().manual_seed(2))


def file_of(
    folder: Path, model, kind: str = "F32", **changes
) -> tuple[Path, dict[str, np.ndarray]]:
    """The model's file, and the numbers in it."""
    file, architecture = folder / f"{kind}.gguf", model.config.model_type
    values = ggufs.shape(model) | ggufs.bytes_tokens(95) | changes
    return file, ggufs.write(file, architecture, values, ggufs.tensors(model), kind)


def test_a_file_gives_the_logits_and_greedy_tokens_of_its_safetensors_twin(theirs, tmp_path):
    file, _ = file_of(tmp_path, theirs)
    ours = gguf.load(file)
    torch.testing.assert_close(ours(tokens()), theirs(tokens()).logits, rtol=1e-4, atol=1e-4)
    assert ours.config.norm_epsilon in (1e-5, 1e-6)
    prompt = tokens()[:1, :8]
    (made,) = generate(ours, prompt.tolist(), max_new_tokens=32, end_of_text=-1)
    assert made == theirs.generate(prompt, max_new_tokens=32, do_sample=False)[0, 8:].tolist()


@pytest.mark.parametrize(("base", "before"), [(500.0, 32), (500_000.0, 8192)])
def test_llama_3s_longer_context_is_known_by_its_factors(base, before, tmp_path):
    """llama.cpp's conversion writes them alone; the context before is Llama 3's, or said."""
    torch.manual_seed(1)
    rope = LLAMA3 | {"rope_theta": base, "original_max_position_embeddings": before}
    theirs = llama(**WIDE, rope_parameters=rope).float().eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, mean=0.05, std=0.2)
    plain = base ** (-np.arange(0, 16, 2) / 16)
    factors = plain / theirs.model.rotary_emb.inv_freq.numpy()
    assert factors.max() == pytest.approx(8.0)
    values = ggufs.shape(theirs) | ggufs.bytes_tokens(95)
    values |= {"llama.rope.scaling.original_context_length": before if before == 32 else None}
    extra = {"rope_freqs.weight": factors.astype(np.float32)}
    ggufs.write(tmp_path / "a.gguf", "llama", values, ggufs.tensors(theirs) | extra)
    ours = gguf.load(tmp_path / "a.gguf")
    assert ours.config.rotary_scaling.original_block_size == before
    torch.testing.assert_close(ours(tokens()), theirs(tokens()).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_quantised_numbers_are_those_that_the_library_makes_of_them(kind, tmp_path):
    torch.manual_seed(1)
    theirs = llama(**WIDE).float().eval()
    file, numbers = file_of(tmp_path, theirs, kind)
    (tmp_path / "plain").mkdir()
    plain = tmp_path / "plain/F32.gguf"
    ggufs.write(plain, "llama", ggufs.shape(theirs) | ggufs.bytes_tokens(95), numbers)
    ours, wanted = gguf.load(file).state_dict(), gguf.load(plain).state_dict()
    assert all(torch.equal(ours[name], wanted[name]) for name in wanted)
    assert not torch.equal(
        ours["embedding.weight"], theirs.state_dict()["model.embed_tokens.weight"]
    )


def refusal(file: Path) -> str:
    with pytest.raises(UserError) as caught:
        gguf.load(file)
        model_tokenizer.read(file)
    line = str(caught.value)
    assert "\n" not in line
    return line.removeprefix(f"{file}: ")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"llama.rope.scaling.type": "yarn"}, "rope.scaling.type = 'yarn' is not supported"),
        ({"llama.expert_count": 8}, "expert_count = 8 is not supported"),
        ({"llama.attention.sliding_window": 64}, "attention.sliding_window = 64: llmill does not know"),
        ({"llama.rope.dimension_count": 8}, "rope.dimension_count = 8 is not supported, only None or 16"),
        ({"llama.attention.head_count": [4, 4, 2]}, "attention.head_count = [4, 4, 2]: must be a whole"),
        ({"llama.block_count": 4}, "blk.3.attn_k.weight: no such tensor"),
        ({"llama.feed_forward_length": 100}, "blk.0.ffn_gate.weight: the file has (96, 64), the config"),
        ({"split.count": 3}, "one of 3 parts; `llama-gguf-split --merge`"),
        ({"tokenizer.ggml.model": "llama"}, "tokenizer.ggml.model = 'llama' is not supported"),
        ({"tokenizer.ggml.model": None}, "no tokenizer inside"),
        ({"tokenizer.ggml.pre": "qwen2"}, "tokenizer.ggml.pre = 'qwen2': not a way of cutting"),
        ({"tokenizer.ggml.eos_token_id": 7}, "no special token is id 7, which the metadata calls the end"),
    ],
)  # fmt: skip
def test_what_would_compute_something_else_is_refused_by_name(changes, reason, tmp_path):
    file, _ = file_of(tmp_path, llama(**WIDE), **changes)
    assert refusal(file).startswith(reason)


def test_another_architecture_and_a_quantisation_that_the_library_lacks_are_named(tmp_path):
    model = llama(**WIDE)
    ggufs.write(tmp_path / "q.gguf", "qwen2", {}, {})
    assert refusal(tmp_path / "q.gguf") == (
        "general.architecture = 'qwen2': not an architecture that llmill has; known: gpt2, llama"
    )
    file, _ = file_of(tmp_path, model)
    name = b"blk.1.ffn_up.weight"
    content = bytearray(file.read_bytes())
    place = content.index(name) + len(name) + 4 + 2 * 8  # behind its axes: the type of its numbers
    assert content[place] == library.GGMLQuantizationType.F32
    content[place : place + 4] = struct.pack("<I", library.GGMLQuantizationType.I32)
    file.write_bytes(content)
    assert refusal(file).startswith("blk.1.ffn_up.weight: numbers of type I32, which the library")
    content[place : place + 4] = struct.pack("<I", 99)
    file.write_bytes(content)
    assert refusal(file) == (
        "numbers of type 99, which the library gguf does not know; a newer one may, or another "
        "quantisation of the model will do"
    )


def test_a_tensor_too_many_and_numbers_that_are_none_are_named(tmp_path):
    model = llama(**WIDE)
    values = ggufs.shape(model) | ggufs.bytes_tokens(95)
    extra = {"rope_freqs.weight": np.ones(8, np.float32)}
    ggufs.write(tmp_path / "a.gguf", "llama", values, ggufs.tensors(model) | extra)
    assert refusal(tmp_path / "a.gguf").startswith(
        "rope_freqs.weight: positions are not scaled as in"
    )
    extra = {"blk.0.attn_sinks.weight": np.ones(4, np.float32)}
    ggufs.write(tmp_path / "b.gguf", "llama", values, ggufs.tensors(model) | extra)
    assert (
        refusal(tmp_path / "b.gguf")
        == "blk.0.attn_sinks.weight: a tensor that llmill does not know"
    )
    model.model.norm.weight.data[3] = torch.nan
    file, _ = file_of(tmp_path, model)
    assert refusal(file) == "output_norm.weight: not all numbers are finite"


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("rope_freqs.weight", np.float32(1), "positions are not scaled as in Llama 3, "),
        ("rope_freqs.weight", np.ones(0, np.float32), "positions are not scaled as in"),
        ("rope_freqs.weight", np.ones((8, 8), np.float32), "positions are not scaled"),
        ("rope_freqs.weight", np.ones(8, np.int32), "numbers of type I32, which the library gguf"),
        ("rope_freqs.weight", np.ones(8, np.float64), "numbers of type F64, which the library"),
        (
            "token_embd.weight",
            np.float32(1),
            "the file has (), expected a row per token of the voc",
        ),
        ("token_embd.weight", np.ones((0, 64), np.float32), "the file has (0, 64), expected a row"),
        ("blk.0.attn_q.weight", np.float32(1), "the file has (), the config says (64, 64); down"),
    ],
)
def test_a_tensor_without_dimensions_or_rows_or_of_another_type_is_one_line(
    name, values, said, tmp_path
):
    model = llama(**WIDE)
    file, metadata = tmp_path / "a.gguf", ggufs.shape(model) | ggufs.bytes_tokens(95)
    del metadata["llama.vocab_size"]
    writer = library.GGUFWriter(file, "llama")
    for key, value in metadata.items():
        if value != []:  # the library cannot write a list of nothing
            writer.add_key_value(key, value, library.GGUFValueType.get_type(value))
    for key, matrix in (ggufs.tensors(model) | {name: np.asarray(values)}).items():
        writer.add_tensor(key, matrix)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert refusal(file).startswith(f"{name}: {said}")


def test_a_file_cut_short_or_of_another_kind_is_one_line(tmp_path):
    file, _ = file_of(tmp_path, llama(**WIDE))
    whole = file.read_bytes()
    for end in (len(whole) - 40, 3000, 200, 20, 3, 0):
        file.write_bytes(whole[:end])
        assert refusal(file).startswith("no GGUF file, or a damaged one (")
    file.write_bytes(b"PK\x03\x04" * 100)
    assert refusal(file) == "no GGUF file, or a damaged one (GGUF magic invalid)"
    endless = struct.pack("<QI", 4, 9) + struct.pack("<IQ", 0, 2**60)  # a list of 2^60 bytes
    file.write_bytes(
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 4) + b"list" + endless[8:]
    )
    assert "a list of 1,152,921,504,606,846,976 values" in refusal(file)


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory) -> Path:
    """The published file, if stage download once got it here."""
    kept = ROOT / "scratch/downloads" / SMOLLM2
    if not kept.exists():
        pytest.skip("smollm2-135m-instruct was not downloaded here (scratch/downloads)")
    link = tmp_path_factory.mktemp("smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
    link.symlink_to(kept)
    return link


CHAT = [
    "<|im_start|>", "system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face",
    "<|im_end|>", "\n", "<|im_start|>", "user\nWhat is the capital of France?", "<|im_end|>", "\n",
    "<|im_start|>", "assistant\n",
]  # fmt: skip


def test_the_published_smollm2_is_what_transformers_own_reader_makes_of_it(smollm2):
    pytest.importorskip("accelerate", reason="transformers reads GGUF with accelerate")
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        smollm2.parent, gguf_file=smollm2.name, dtype=torch.float32
    ).eval()
    ours, tokenizer = gguf.load(smollm2), model_tokenizer.read(smollm2)
    ids: list[int] = []
    for part in CHAT:
        ids += [tokenizer.special[part]] if part in tokenizer.special else tokenizer.encode(part)
    idx = torch.tensor([ids])
    with torch.inference_mode():
        torch.testing.assert_close(ours(idx), theirs(idx).logits, rtol=0, atol=1e-4)
    wanted = theirs.generate(idx, max_new_tokens=32, do_sample=False, eos_token_id=None)
    (made,) = generate(ours, [ids], max_new_tokens=32, end_of_text=-1)
    assert made == wanted[0, len(ids) :].tolist()
    answer = generate(ours, [ids], max_new_tokens=32, end_of_text=tokenizer.end_of_text)[0]
    assert tokenizer.decode(answer) == "The capital of France is Paris."
