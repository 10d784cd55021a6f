"""Architectures of Hugging Face's transformers that llmill's model can represent: how each one
writes its switches in `config.json`, and where its tensors lie in llmill's.

Every option of a config is either read, known to change nothing, or refused by name
(`options.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from llmill.contract.elsewhere import quoted
from llmill.contract.errors import UserError
from llmill.model.options import Config, Options
from llmill.model.settings import Model

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class TensorRows:
    """A tensor of transformers: this many rows of llmill's tensor, after a change that is its own
    inverse.
    """

    name: str
    rows: int
    change: Change | None = None


Layout = dict[
    str, list[TensorRows]
]  # llmill's tensor: transformers' tensors, from first row to last


@dataclass(frozen=True)
class Architecture:
    """An architecture of transformers and its mapping to llmill's model."""

    name: str  # the class of causal models
    model_type: str
    read: Callable[[Options], Config]  # from a config to the fields of `Model`
    write: Callable[[Model], Config]
    layout: Callable[[Model, int], Layout]
    classifier: str | None = None  # the class of classifiers, if transformers has one

    def called(self, classifier: bool) -> str | None:
        """Return the class name of a causal model, or of a classifier."""
        return self.classifier if classifier else self.name


def _gpt2_read(options: Options) -> Config:
    options.only("activation_function", "gelu_new", "gelu_pytorch_tanh")
    options.only("scale_attn_weights", True)
    for name in ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn"):
        options.only(name, False)
    options.only("add_cross_attention", False)
    heads, width = options.whole("n_head"), options.whole("n_embd")
    # llmill has one dropout for all three: no logit depends on it, and `model.dropout` sets it
    # for training.
    dropout = options.number("resid_pdrop", 0.1)
    for name in ("embd_pdrop", "attn_pdrop"):
        options.number(name, 0.1)
    return {
        **CLASSIC,
        "n_layer": options.whole("n_layer"),
        "n_head": heads,
        "n_kv_head": heads,
        "n_embd": width,
        "block_size": options.whole("n_positions"),
        "norm_epsilon": options.number("layer_norm_epsilon", 1e-5),
        "mlp_hidden": options.whole("n_inner", None) or 4 * width,
        "dropout": dropout,
        "tied": options.flag("tie_word_embeddings", True),
    }


def _gpt2_write(config: Model) -> Config:
    return {
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_embd": config.n_embd,
        "n_positions": config.block_size,
        "n_inner": config.mlp_hidden,
        "layer_norm_epsilon": config.norm_epsilon,
        "activation_function": "gelu_new",
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), config.dropout),
        "tie_word_embeddings": config.tied,
    }


def _gpt2_layout(config: Model, vocab_size: int) -> Layout:
    c, hidden = config.n_embd, config.mlp_hidden
    layout = {
        "embedding.weight": [TensorRows("transformer.wte.weight", vocab_size)],
        "position.weight": [TensorRows("transformer.wpe.weight", config.block_size)],
    }
    for i in range(config.n_layer):
        ours, theirs = f"blocks.{i}", f"transformer.h.{i}"
        for name, other, rows in (
            ("attention.qkv", "attn.c_attn", 3 * c),
            ("attention.out", "attn.c_proj", c),
            ("mlp.up", "mlp.c_fc", hidden),
            ("mlp.down", "mlp.c_proj", c),
        ):
            layout[f"{ours}.{name}.weight"] = [TensorRows(f"{theirs}.{other}.weight", rows, turned)]
            layout[f"{ours}.{name}.bias"] = [TensorRows(f"{theirs}.{other}.bias", rows)]
        for name, other in (("norm1", "ln_1"), ("norm2", "ln_2")):
            for kind in ("weight", "bias"):
                layout[f"{ours}.{name}.{kind}"] = [TensorRows(f"{theirs}.{other}.{kind}", c)]
    for kind in ("weight", "bias"):
        layout[f"norm.{kind}"] = [TensorRows(f"transformer.ln_f.{kind}", c)]
    return layout | _head(config, vocab_size)


def _llama_read(options: Options) -> Config:
    options.only("hidden_act", "silu")
    options.only("attention_dropout", 0.0, 0)
    options.only("rope_interleaved", False)
    bias = options.flag("attention_bias", False)
    of_mlp = options.flag("mlp_bias", False)
    if of_mlp != bias:
        raise UserError(
            f"{options.file}: attention_bias = {bias} and mlp_bias = {of_mlp}: llmill supports "
            "biases in both or in neither"
        )
    return {
        **LLAMA,
        **_shared_read(options, 1e-6),
        **_rotary_read(options),
        "bias": bias,
        "tied": options.flag("tie_word_embeddings", False),
    }


def _llama_write(config: Model) -> Config:
    return {
        **_shared_write(config),
        **_rotary_write(config),
        "hidden_act": "silu",
        "attention_bias": config.bias,
        "mlp_bias": config.bias,
        "tie_word_embeddings": config.tied,
    }


def _llama_layout(config: Model, vocab_size: int) -> Layout:
    c, hidden = config.n_embd, config.mlp_hidden
    layout = _shared_layout(config, vocab_size)
    for i in range(config.n_layer):
        ours, theirs = f"blocks.{i}", f"model.layers.{i}"
        for kind in ("weight", "bias") if config.bias else ("weight",):
            layout[f"{ours}.mlp.up.{kind}"] = [
                TensorRows(f"{theirs}.mlp.gate_proj.{kind}", hidden),
                TensorRows(f"{theirs}.mlp.up_proj.{kind}", hidden),
            ]
            layout[f"{ours}.mlp.down.{kind}"] = [TensorRows(f"{theirs}.mlp.down_proj.{kind}", c)]
        layout[f"{ours}.norm1.weight"] = [TensorRows(f"{theirs}.input_layernorm.weight", c)]
        layout[f"{ours}.norm2.weight"] = [
            TensorRows(f"{theirs}.post_attention_layernorm.weight", c)
        ]
    layout["norm.weight"] = [TensorRows("model.norm.weight", c)]
    return layout


def _nanochat_read(options: Options) -> Config:
    options.only("hidden_act", "relu2")
    options.only("attention_dropout", 0.0, 0)
    options.only("attention_bias", False)
    options.only("final_logit_softcapping", None)
    if "final_logit_softcapping" not in options.values:
        raise UserError(
            f"{options.file}: final_logit_softcapping is missing, which means 15.0; "
            "llmill supports None only"
        )
    return {
        **MODERN,
        **_shared_read(options, 1e-6),
        **_rotary_read(options),
        "tied": options.flag("tie_word_embeddings", False),
    }


def _nanochat_write(config: Model) -> Config:
    return {
        **_shared_write(config),
        **_rotary_write(config),
        "hidden_act": "relu2",
        "attention_bias": False,
        "final_logit_softcapping": None,
        "tie_word_embeddings": config.tied,
    }


def _nanochat_layout(config: Model, vocab_size: int) -> Layout:
    """Return the layout. nanochat rotates in the opposite direction, so the halves of each head
    are swapped.
    """
    layout = _shared_layout(config, vocab_size, partial(_halves_swapped, size=_head_size(config)))
    for i in range(config.n_layer):
        ours, theirs = f"blocks.{i}.mlp", f"model.layers.{i}.mlp"
        layout[f"{ours}.up.weight"] = [TensorRows(f"{theirs}.fc1.weight", config.mlp_hidden)]
        layout[f"{ours}.down.weight"] = [TensorRows(f"{theirs}.fc2.weight", config.n_embd)]
    return layout


def _shared_read(options: Options, epsilon: float) -> Config:
    """Read the options that Llama and nanochat share."""
    heads, width = options.whole("num_attention_heads"), options.whole("hidden_size")
    options.only("head_dim", None, width // heads)
    return {
        "n_layer": options.whole("num_hidden_layers"),
        "n_head": heads,
        "n_kv_head": options.whole("num_key_value_heads", None) or heads,
        "n_embd": width,
        "block_size": options.whole("max_position_embeddings"),
        "mlp_hidden": options.whole("intermediate_size"),
        "norm_epsilon": options.number("rms_norm_eps", epsilon),
    }


def _shared_write(config: Model) -> Config:
    return {
        "num_hidden_layers": config.n_layer,
        "num_attention_heads": config.n_head,
        "num_key_value_heads": config.n_kv_head,
        "hidden_size": config.n_embd,
        "max_position_embeddings": config.block_size,
        "intermediate_size": config.mlp_hidden,
        "rms_norm_eps": config.norm_epsilon,
        "attention_dropout": 0.0,
    }


def _shared_layout(config: Model, vocab_size: int, of_qk: Change | None = None) -> Layout:
    """Return the layout of embedding, attention and head of Llama and nanochat."""
    size = _head_size(config)
    layout = {"embedding.weight": [TensorRows("model.embed_tokens.weight", vocab_size)]}
    for i in range(config.n_layer):
        ours, theirs = f"blocks.{i}.attention", f"model.layers.{i}.self_attn"
        for kind in ("weight", "bias") if config.bias else ("weight",):
            layout[f"{ours}.qkv.{kind}"] = [
                TensorRows(f"{theirs}.q_proj.{kind}", config.n_head * size, of_qk),
                TensorRows(f"{theirs}.k_proj.{kind}", config.n_kv_head * size, of_qk),
                TensorRows(f"{theirs}.v_proj.{kind}", config.n_kv_head * size),
            ]
            layout[f"{ours}.out.{kind}"] = [TensorRows(f"{theirs}.o_proj.{kind}", config.n_embd)]
    return layout | _head(config, vocab_size)


def _head(config: Model, vocab_size: int) -> Layout:
    return {} if config.tied else {"head.weight": [TensorRows("lm_head.weight", vocab_size)]}


def _rotary_read(options: Options) -> Config:
    """Read rotary positions as transformers 5 writes them (`rope_parameters`), or as 4 did."""
    new, old = options.section("rope_parameters"), options.section("rope_scaling")
    base = options.take("rope_theta", None)
    base = 10000.0 if base is None else base
    rope = Options(options.file, {"rope_theta": base, **old, **new})
    kind = rope.take("rope_type", rope.take("type", "default"))
    scaling = None
    if kind == "llama3":
        scaling = {
            "factor": rope.number("factor"),
            "low_frequency_factor": rope.number("low_freq_factor"),
            "high_frequency_factor": rope.number("high_freq_factor"),
            "original_block_size": rope.whole("original_max_position_embeddings"),
        }
    elif kind != "default":
        raise UserError(
            f"{options.file}: rope_type = {quoted(kind)} is not supported, only 'llama3'"
        )
    fields = {"rotary_base": rope.number("rope_theta"), "rotary_scaling": scaling}
    rope.only("partial_rotary_factor", 1.0, 1)
    rope.done()
    return fields


def _rotary_write(config: Model) -> Config:
    rope: Config = {"rope_type": "default", "rope_theta": config.rotary_base}
    scaling = config.rotary_scaling
    if scaling is not None:
        rope |= {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_frequency_factor,
            "high_freq_factor": scaling.high_frequency_factor,
            "original_max_position_embeddings": scaling.original_block_size,
        }
    # Readers older than transformers 5 read the top level; without it they assume a base of
    # 10,000 and no scaling.
    top: Config = {"rope_parameters": rope, "rope_theta": config.rotary_base}
    if scaling is not None:
        top["rope_scaling"] = {name: value for name, value in rope.items() if name != "rope_theta"}
    return top


def turned(matrix: Tensor) -> Tensor:
    """Transpose a matrix: GPT-2 stores matrices as (in, out), llmill as (out, in)."""
    return matrix.mT


def _halves_swapped(rows: Tensor, size: int) -> Tensor:
    """Swap the halves of each head of `size` rows; (rows, ...) to (rows, ...)."""
    heads = rows.unflatten(0, (-1, 2, size // 2))
    return heads.flip(1).flatten(0, 2)


def _head_size(config: Model) -> int:
    return config.n_embd // config.n_head


CLASSIC: Config = {
    "causal": True, "norm": "layernorm", "norm_weight": True, "norm_embedding": False,
    "position": "learned", "rotary_base": 10000.0, "rotary_scaling": None, "mlp": "gelu",
    "qk_norm": False, "bias": True,
}  # fmt: skip
LLAMA: Config = {
    "causal": True, "norm": "rmsnorm", "norm_weight": True, "norm_embedding": False,
    "position": "rotary", "mlp": "swiglu", "qk_norm": False, "dropout": 0.0,
}  # fmt: skip
MODERN: Config = {
    "causal": True, "norm": "rmsnorm", "norm_weight": False, "norm_embedding": True,
    "position": "rotary", "mlp": "relu2", "qk_norm": True, "bias": False, "dropout": 0.0,
}  # fmt: skip
ARCHITECTURES = {
    each.model_type: each
    for each in (
        Architecture(
            "GPT2LMHeadModel",
            "gpt2",
            _gpt2_read,
            _gpt2_write,
            _gpt2_layout,
            classifier="GPT2ForSequenceClassification",
        ),
        Architecture(
            "LlamaForCausalLM",
            "llama",
            _llama_read,
            _llama_write,
            _llama_layout,
            classifier="LlamaForSequenceClassification",
        ),
        Architecture(
            "NanoChatForCausalLM", "nanochat", _nanochat_read, _nanochat_write, _nanochat_layout
        ),
    )
}
