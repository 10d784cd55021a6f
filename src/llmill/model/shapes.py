"""Shapes of published models by name. `model: {shape: smollm2-135m, dropout: 0.1}` in `params.yaml`
is an entry of this table with changes. The name `init` means the shape of the weights in
`download.init`.
"""

from typing import Any

Fields = dict[str, Any]
INIT = "init"  # not in the table: the weights give the shape

GPT2: Fields = {
    "block_size": 1024, "causal": True, "norm": "layernorm", "norm_weight": True,
    "norm_epsilon": 1e-5, "norm_embedding": False, "position": "learned", "rotary_base": 10000.0,
    "rotary_scaling": None, "mlp": "gelu", "qk_norm": False, "bias": True, "dropout": 0.0,
    "tied": True,
}  # fmt: skip
LLAMA: Fields = {
    "causal": True, "norm": "rmsnorm", "norm_weight": True, "norm_epsilon": 1e-5,
    "norm_embedding": False, "position": "rotary", "rotary_base": 10000.0, "rotary_scaling": None,
    "mlp": "swiglu", "qk_norm": False, "bias": False, "dropout": 0.0, "tied": False,
}  # fmt: skip
BERT: Fields = {  # replaces fields of GPT-2
    "block_size": 512, "causal": False, "norm_epsilon": 1e-12, "norm_embedding": True,
}  # fmt: skip
LLAMA32 = {
    "factor": 32.0, "low_frequency_factor": 1.0, "high_frequency_factor": 4.0,
    "original_block_size": 8192,
}  # fmt: skip


def _gpt2(layers: int, heads: int, width: int) -> Fields:
    sizes = {"n_layer": layers, "n_head": heads, "n_kv_head": heads, "n_embd": width}
    return GPT2 | sizes | {"mlp_hidden": 4 * width}


def _llama(
    layers: int, heads: int, kv_heads: int, width: int, hidden: int, block: int, **changes: Any
) -> Fields:
    sizes = {"n_layer": layers, "n_head": heads, "n_kv_head": kv_heads, "n_embd": width}
    return LLAMA | sizes | {"mlp_hidden": hidden, "block_size": block} | changes


SHAPES: dict[str, Fields] = {
    "gpt2-124m": _gpt2(12, 12, 768),
    "gpt2-355m": _gpt2(24, 16, 1024),
    "gpt2-774m": _gpt2(36, 20, 1280),
    "gpt2-1.5b": _gpt2(48, 25, 1600),
    "llama-2-7b": _llama(32, 32, 32, 4096, 11008, 4096),
    "llama-3-8b": _llama(32, 32, 8, 4096, 14336, 8192, rotary_base=500000.0),
    "llama-3.2-1b": _llama(
        16, 32, 8, 2048, 8192, 131072, rotary_base=500000.0, rotary_scaling=LLAMA32, tied=True
    ),
    "smollm2-135m": _llama(30, 9, 3, 576, 1536, 8192, rotary_base=100000.0, tied=True),
    "smollm2-360m": _llama(32, 15, 5, 960, 2560, 8192, rotary_base=100000.0, tied=True),
    "tinyllama-1.1b": _llama(22, 32, 4, 2048, 5632, 2048),
    "bert-base": _gpt2(12, 12, 768) | BERT,
}


def expand(fields: Any) -> Any:
    """Replace `shape` in the fields of a model with the fields of that name. Return anything else
    unchanged. Raises `ValueError` for a name that is not in the table.
    """
    if not isinstance(fields, dict) or fields.get("shape") in (None, INIT):
        return fields
    changes = {key: value for key, value in fields.items() if key != "shape"}
    if fields["shape"] not in SHAPES:
        raise ValueError(f"no shape {fields['shape']!r}; one of {', '.join([*SHAPES, INIT])}")
    return SHAPES[fields["shape"]] | changes
