"""Beside transformers: what it saves computes the same here, what we save computes the same there."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llmill.contract.errors import UserError
from llmill.model import architectures, huggingface
from llmill.model.generate import generate
from llmill.model.settings import Model
from llmill.model.transformer import Transformer
from tests.model.peaks import linux, peaks
from tests.model.test_transformer import GPT2, MODERN

transformers = pytest.importorskip("transformers")

VOCAB = 96
SIZES = {
    "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "max_position_embeddings": 128,
    "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
}  # fmt: skip


def gpt2(**changes):
    sizes = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128}
    dropout = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.0)
    config = transformers.GPT2Config(
        **sizes, **dropout, **changes, bos_token_id=None, eos_token_id=None
    )
    return transformers.GPT2LMHeadModel(config)


def llama(**changes):
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES | changes))


def nanochat(**changes):
    config = transformers.NanoChatConfig(**SIZES | {"final_logit_softcapping": None} | changes)
    return transformers.NanoChatForCausalLM(config)


def forms(gpt2, llama):
    """Makers of both architectures in the forms that they come in."""
    return {
        "gpt2": gpt2,
        "gpt2, narrow feed-forward, untied": lambda: gpt2(n_inner=40, tie_word_embeddings=False),
        "llama": llama,
        "llama, grouped heads, tied": lambda: llama(
            num_key_value_heads=2, tie_word_embeddings=True
        ),
        "llama, biases": lambda: llama(attention_bias=True, mlp_bias=True),
        "llama 3's longer context": lambda: llama(num_key_value_heads=1, rope_parameters=LLAMA3),
    }


THEIRS = {
    **forms(gpt2, llama),
    "nanochat": nanochat,
    "nanochat, grouped heads": lambda: nanochat(num_key_value_heads=2, rms_norm_eps=1e-5),
}


@pytest.fixture(params=THEIRS)
def theirs(request):
    """A model of theirs with weights far from where they begin, so that no term is small."""
    torch.manual_seed(1)
    model = THEIRS[request.param]().float().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=0.05, std=0.2)
    return model


def save(folder: Path, model: Transformer, special: dict | None = None) -> None:
    huggingface.save(folder, model, huggingface.fitting(model.config), special or {})


def tokens() -> torch.Tensor:
    return torch.randint(VOCAB, (2, 100), generator=torch.Generator().manual_seed(2))


def gradients(loss: torch.Tensor, model: torch.nn.Module) -> float:
    """One number that any wrong gradient changes: the norm over all."""
    loss.backward()
    return float(torch.stack([p.grad.norm() for p in model.parameters()]).norm())


def test_what_transformers_saved_gives_the_same_logits_and_gradients(theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    ours, idx = huggingface.load(tmp_path), tokens()
    logits, wanted = ours(idx), theirs(idx).logits
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4)
    targets = idx.roll(-1, dims=1)
    loss = ours(idx, targets=targets) / targets.numel()
    expected = torch.nn.functional.cross_entropy(wanted.flatten(0, 1), targets.flatten())
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    assert gradients(loss, ours) == pytest.approx(gradients(expected, theirs), rel=1e-4)
    torch.testing.assert_close(
        ours.embedding.weight.grad, theirs.get_input_embeddings().weight.grad, rtol=1e-4, atol=1e-4
    )


def test_sixty_four_greedy_tokens_are_the_same(theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    prompt = tokens()[:1, :8]
    made = generate(huggingface.load(tmp_path), prompt.tolist(), max_new_tokens=64, end_of_text=-1)
    wanted = theirs.generate(prompt, max_new_tokens=64, do_sample=False)[0, 8:]
    assert made[0] == wanted.tolist()


def test_the_tensors_that_we_save_are_those_that_were_loaded_to_the_last_bit(theirs, tmp_path):
    theirs.save_pretrained(tmp_path / "theirs")
    save(tmp_path / "ours", huggingface.load(tmp_path / "theirs"))
    ours, wanted = (load_file(tmp_path / who / "model.safetensors") for who in ("ours", "theirs"))
    wanted.pop("lm_head.weight", None) if theirs.config.tie_word_embeddings else None
    assert sorted(ours) == sorted(wanted)
    assert all(torch.equal(ours[name], wanted[name]) for name in ours)


def test_transformers_loads_what_we_save(theirs, tmp_path):
    theirs.save_pretrained(tmp_path / "theirs")
    special = {"bos_token_id": None, "eos_token_id": 7}
    save(tmp_path / "ours", huggingface.load(tmp_path / "theirs"), special)
    back = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    assert type(back) is type(theirs)
    assert back.config.eos_token_id == 7
    torch.testing.assert_close(back(tokens()).logits, theirs(tokens()).logits)


@pytest.mark.parametrize(("config", "name"), [(GPT2, "gpt2"), (MODERN, "nanochat")])
def test_a_model_made_here_gives_the_same_logits_there(config, name, tmp_path):
    torch.manual_seed(3)
    ours = Transformer(config, VOCAB).eval()
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    save(tmp_path, ours)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert theirs.config.model_type == name
    idx = tokens()[:, : config.block_size]
    torch.testing.assert_close(theirs(idx).logits, ours(idx), rtol=1e-4, atol=1e-4)


def test_the_preset_of_the_world_is_a_nanochat(tmp_path):
    from tests.conftest import preset

    shape = preset("world").model
    save(tmp_path, Transformer(shape, 64))
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [
        "NanoChatForCausalLM"
    ]


def test_switches_that_no_architecture_has_fit_none():
    assert huggingface.fitting(GPT2.model_copy(update={"mlp": "relu2"})) is None
    for config in (GPT2, MODERN):
        assert huggingface.fitting(config) is not None
        assert huggingface.fitting(config.model_copy(update={"causal": False})) is None
    assert huggingface.fitting(
        GPT2.model_copy(update={"rotary_base": 5.0, "dropout": 0.3})
    ).name == ("GPT2LMHeadModel")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A small Llama as transformers saves it, in three files with an index."""
    torch.manual_seed(1)
    llama().save_pretrained(tmp_path, max_shard_size="20KB")
    return tmp_path


def edit(folder: Path, **changes) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def refusal(folder: Path) -> str:
    """What is said of a folder that is not read."""
    with pytest.raises(UserError) as caught:
        huggingface.load(folder)
    return str(caught.value)


def test_several_files_with_an_index_are_read(folder):
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    torch.testing.assert_close(huggingface.load(folder)(tokens()), theirs(tokens()).logits)


def test_a_single_file_goes_before_an_index_that_was_left(folder):
    """As in transformers: an index stays behind where a smaller model is saved over a larger one."""
    single = llama()
    single.save_pretrained(folder)
    for part in folder.glob("model-*.safetensors"):
        part.unlink()
    (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "gone.safetensors"}}'
    )
    torch.testing.assert_close(huggingface.load(folder)(tokens()), single(tokens()).logits)


def test_a_file_that_the_index_names_must_be_there(folder):
    gone = sorted(folder.glob("model-*.safetensors"))[1]
    gone.unlink()
    assert re.search(
        f"{gone.name}: missing, but model.safetensors.index.json names it", refusal(folder)
    )


def test_a_file_cut_short_is_named(folder):
    short = sorted(folder.glob("model-*.safetensors"))[0]
    short.write_bytes(short.read_bytes()[:-10])
    assert re.search(f"{short.name}: cut short or damaged", refusal(folder))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "mamba"}, "model_type = 'mamba': not an architecture .*known: gpt2, llama, nanochat"),
        ({"is_encoder_decoder": True}, "is_encoder_decoder = True is not supported, only False"),
        ({"sliding_window": 64}, "sliding_window = 64: llmill does not know this option"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu' is not supported, only 'silu'"),
        ({"head_dim": 16}, "head_dim = 16 is not supported, only None or 8"),
        ({"attention_bias": True}, "attention_bias = True and mlp_bias = False: llmill supports biases in"),
        ({"num_attention_heads": 5, "head_dim": None}, "not a shape of llmill's .*not divisible"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "rope_type = 'yarn' is not supported"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mscale": 2}}, "mscale = 2: llmill does not know"),
        ({"hidden_size": 16, "head_dim": None}, r"the file has \(.*\), the config says \("),
    ],
)  # fmt: skip
def test_an_option_that_would_compute_something_else_is_refused_by_name(folder, changes, reason):
    edit(folder, **changes)
    assert re.search(reason, refusal(folder))


def test_options_that_change_no_logit_are_passed_over_in_one_line(folder, caplog):
    """SmolLM2's own config has the first three."""
    wanted = huggingface.load(folder)(tokens())
    assert caplog.messages == []
    harmless = {
        "is_llama_config": True, "rope_interleaved": False, "transformers.js_config": {"dtype": {}},
        "_num_labels": 2, "_attn_implementation_autoset": True, "unsloth_fixed": True,
        "unsloth_version": "2025.1", "tokenizer_class": "GPT2Tokenizer", "do_sample": True,
        "is_encoder_decoder": False, "is_decoder": False, "pruned_heads": {}, "n_special": 0,
    }  # fmt: skip
    edit(folder, **harmless)
    assert torch.equal(huggingface.load(folder)(tokens()), wanted)
    assert caplog.messages == [
        f"{folder}/config.json: passed over, for no logit depends on it: "
        "_attn_implementation_autoset, _num_labels, do_sample, n_special, tokenizer_class, "
        "transformers.js_config, unsloth_fixed, unsloth_version"
    ]
    edit(folder, rope_interleaved=True)
    assert re.search("rope_interleaved = True is not supported, only False", refusal(folder))


def tied_with_a_head(folder: Path, made, embedding: str, change: float) -> None:
    """A config that says tied, beside a head that differs so far from the embedding."""
    made().save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors[embedding] + change
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder, tie_word_embeddings=True)


@pytest.mark.parametrize(
    ("made", "embedding"),
    [(gpt2, "transformer.wte.weight"), (llama, "model.embed_tokens.weight")],
)
def test_a_head_that_is_not_the_embedding_is_never_tied_silently(made, embedding, tmp_path, caplog):
    tied_with_a_head(tmp_path, made, embedding, 0.25)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    caplog.clear()
    ours = huggingface.load(tmp_path)
    torch.testing.assert_close(ours(tokens()), theirs(tokens()).logits, rtol=1e-4, atol=1e-4)
    assert (ours.config.tied, huggingface.read_shape(tmp_path)[0].tied) == (False, False)
    assert caplog.messages == [
        f"{tmp_path}/config.json: tie_word_embeddings = True, but lm_head.weight is not the "
        "embedding; read untied"
    ]


def test_a_head_that_is_the_embedding_once_more_is_tied(tmp_path, caplog):
    tied_with_a_head(tmp_path, llama, "model.embed_tokens.weight", 0.0)
    assert huggingface.load(tmp_path).config.tied
    assert huggingface.read_shape(tmp_path)[0].tied
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("shape", "said"), [((), "()"), ((0,), "(0,)"), ((0, 32), "(0, 32)"), ((96,), "(96,)")]
)
def test_an_embedding_and_a_head_that_are_no_matrices_are_one_line(shape, said, tmp_path):
    tied_with_a_head(tmp_path, llama, "model.embed_tokens.weight", 0.0)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = torch.ones(shape)
    save_file(tensors, file, metadata={"format": "pt"})
    for read in (huggingface.load, huggingface.read_shape):
        with pytest.raises(UserError) as caught:
            read(tmp_path)
        assert str(caught.value) == (
            f"{file}: model.embed_tokens.weight: the file has {said}, the config says (96, 32); "
            "download the model again"
        )


def test_an_option_that_is_missing_is_named(folder):
    config = json.loads((folder / "config.json").read_text())
    del config["intermediate_size"]
    (folder / "config.json").write_text(json.dumps(config))
    assert re.search("intermediate_size is missing", refusal(folder))


def one_file(tmp_path: Path) -> tuple[Path, dict]:
    llama().save_pretrained(tmp_path)
    return tmp_path / "model.safetensors", load_file(tmp_path / "model.safetensors")


def test_a_missing_tensor_a_tensor_too_many_and_nan_are_named(tmp_path):
    file, tensors = one_file(tmp_path)
    save_file(tensors | {"model.extra.weight": torch.zeros(2)}, file)
    assert re.search(r"model\.extra\.weight: a tensor that llmill does not know", refusal(tmp_path))
    save_file({k: v for k, v in tensors.items() if k != "model.norm.weight"}, file)
    assert re.search(r"model\.norm\.weight: no such tensor", refusal(tmp_path))
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, file)
    assert re.search(r"model\.norm\.weight: not all numbers are finite", refusal(tmp_path))


def test_pickles_are_never_read(tmp_path):
    file, tensors = one_file(tmp_path)
    file.unlink()
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    assert re.search(r"pytorch_model\.bin: a pickle runs whatever code", refusal(tmp_path))
    (tmp_path / "pytorch_model.bin").unlink()
    assert re.search(r"model\.safetensors: missing", refusal(tmp_path))


def test_gpt2_as_it_was_published_has_bare_names_and_masks(tmp_path):
    theirs = gpt2().eval()
    theirs.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    bare = {name.removeprefix("transformer."): tensor for name, tensor in load_file(file).items()}
    bare["h.0.attn.bias"] = torch.ones(1, 1, 128, 128)
    save_file(bare, file)
    edit(tmp_path, n_ctx=128, task_specific_params={"text-generation": {"do_sample": True}})
    torch.testing.assert_close(huggingface.load(tmp_path)(tokens()), theirs(tokens()).logits)


def test_old_configs_say_rotary_positions_in_other_words(folder):
    theirs = huggingface.load(folder)
    config = json.loads((folder / "config.json").read_text())
    del config["rope_parameters"]
    (folder / "config.json").write_text(
        json.dumps(config | {"rope_theta": 10000, "rope_scaling": None})
    )
    assert torch.equal(huggingface.load(folder)(tokens()), theirs(tokens()))


@pytest.mark.parametrize(("said", "base"), [({"rope_theta": 500000}, 500000.0), ({}, 10000.0)])
def test_the_base_of_rotary_positions_may_be_an_integer_or_absent(folder, said, base):
    config = json.loads((folder / "config.json").read_text())
    del config["rope_parameters"]
    (folder / "config.json").write_text(json.dumps(config | said))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    ours = huggingface.load(folder)
    assert ours.config.rotary_base == base
    torch.testing.assert_close(ours(tokens()), theirs(tokens()).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rope", [{"rope_type": "default", "rope_theta": 100000.0}, LLAMA3])
def test_what_we_save_says_the_base_where_older_readers_look_too(rope, tmp_path):
    llama(rope_parameters=rope).save_pretrained(tmp_path / "theirs")
    save(tmp_path / "ours", huggingface.load(tmp_path / "theirs"))
    config = json.loads((tmp_path / "ours/config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == rope["rope_theta"]
    scaled = {name: value for name, value in rope.items() if name != "rope_theta"}
    assert config.get("rope_scaling") == (scaled if "factor" in rope else None)
    again = transformers.AutoConfig.from_pretrained(tmp_path / "ours")
    assert again.rope_parameters == config["rope_parameters"]
    assert huggingface.load(tmp_path / "ours").config.rotary_base == rope["rope_theta"]


def test_half_precision_is_read_as_float32(tmp_path):
    llama().bfloat16().save_pretrained(tmp_path)
    model = huggingface.load(tmp_path)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@linux
def test_loading_needs_the_weights_and_little_more(tmp_path):
    for width in (8, 640):
        sizes = {"vocab_size": 20_000, "n_layer": 5, "n_head": 4, "n_embd": width}
        special = {"bos_token_id": None, "eos_token_id": None}
        made = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **special))
        made.save_pretrained(tmp_path / str(width))
    small, large = peaks("huggingface", tmp_path / "8", tmp_path / "640")
    weights = (tmp_path / "640/model.safetensors").stat().st_size
    assert 100e6 < weights < large - small < 1.2 * weights
    shutil.rmtree(tmp_path / "640")


@pytest.mark.parametrize("made", [gpt2, llama, nanochat])
def test_every_field_of_a_model_is_said_by_each_architecture(made, tmp_path):
    """A switch that a new field brings must be thought of there, too."""
    made().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    options = architectures.Options(file, json.loads(file.read_text()))
    options.take("vocab_size")
    said = architectures.ARCHITECTURES[options.values["model_type"]].read(options)
    assert said.keys() == Model.model_fields.keys()


def test_weights_are_looked_for_before_a_model_is_made(tmp_path, monkeypatch):
    file, _ = one_file(tmp_path)
    file.unlink()
    monkeypatch.setattr(huggingface, "Transformer", lambda *_: pytest.fail("made"))
    assert re.search(r"model\.safetensors: missing", refusal(tmp_path))


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "config.json: not JSON"), ("[1]", "config.json: expected an object, found list")],
)
def test_a_config_of_another_form_is_named(tmp_path, text, reason):
    (tmp_path / "config.json").write_text(text)
    assert re.search(reason, refusal(tmp_path))
    (tmp_path / "config.json").unlink()
    assert re.search("config.json: missing$", refusal(tmp_path))
