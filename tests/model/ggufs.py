"""GGUF files as llama.cpp's own conversion writes them (convert_hf_to_gguf.py), for tests to read:
tensors under its names, rows of queries and keys in its order, metadata under its keys.
"""

from pathlib import Path
from typing import Any

import numpy as np

NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "transformer.wte": "token_embd", "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm", "ln_1": "attn_norm", "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}  # fmt: skip


def permute(weights: np.ndarray, heads: int) -> np.ndarray:
    """LlamaModel.permute of the conversion, to the letter."""
    return (
        weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
        .swapaxes(1, 2)
        .reshape(weights.shape)
    )


def tensors(model: Any) -> dict[str, np.ndarray]:
    """Those of a model of transformers'."""
    config, made = model.config, {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        stem, _, ending = name.rpartition(".")
        parts = stem.split(".")
        layer = next((part for part in parts if part.isdigit()), None)
        inner = ".".join(parts[parts.index(layer) + 1 :]) if layer else stem
        values = tensor.float().numpy()
        if config.model_type == "gpt2" and "c_" in inner and values.ndim == 2:
            values = values.T
        if inner == "self_attn.q_proj":
            values = permute(values, config.num_attention_heads)
        if inner == "self_attn.k_proj":
            values = permute(values, config.num_key_value_heads)
        prefix = f"blk.{layer}." if layer else ""
        made[f"{prefix}{NAMES[inner]}.{ending}"] = np.ascontiguousarray(values)
    return made


def shape(model: Any) -> dict[str, Any]:
    """What the metadata say of it."""
    c = model.config
    if c.model_type == "gpt2":
        return {
            "gpt2.block_count": c.n_layer, "gpt2.context_length": c.n_positions,
            "gpt2.embedding_length": c.n_embd, "gpt2.feed_forward_length": c.n_inner or 4 * c.n_embd,
            "gpt2.attention.head_count": c.n_head, "gpt2.attention.layer_norm_epsilon": c.layer_norm_epsilon,
        }  # fmt: skip
    return {
        "llama.block_count": c.num_hidden_layers, "llama.context_length": c.max_position_embeddings,
        "llama.embedding_length": c.hidden_size, "llama.feed_forward_length": c.intermediate_size,
        "llama.attention.head_count": c.num_attention_heads, "llama.attention.head_count_kv": c.num_key_value_heads,
        "llama.attention.layer_norm_rms_epsilon": c.rms_norm_eps, "llama.rope.freq_base": float(c.rope_parameters["rope_theta"]),
        "llama.rope.dimension_count": c.hidden_size // c.num_attention_heads, "llama.vocab_size": c.vocab_size,
    }  # fmt: skip


def bytes_tokens(count: int) -> dict[str, Any]:
    """Metadata of a tokenizer of so many bytes and an end behind them."""
    from llmill.text.tokenization.tokenizer import spelt

    return {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [*(spelt(bytes([b])) for b in range(count)), "<|endoftext|>"],
        "tokenizer.ggml.token_type": [*[1] * count, 3], "tokenizer.ggml.merges": [],
        "tokenizer.ggml.bos_token_id": count, "tokenizer.ggml.eos_token_id": count,
    }  # fmt: skip


def write(
    file: Path,
    architecture: str,
    values: dict[str, Any],
    matrices: dict[str, np.ndarray],
    kind: str = "F32",
) -> dict[str, np.ndarray]:
    """Write a file, its matrices as numbers of this type; returns what the numbers then are."""
    import gguf

    writer = gguf.GGUFWriter(file, architecture)
    for name, value in values.items():
        match value:
            case str():
                writer.add_string(name, value)
            case float():
                writer.add_float32(name, value)
            case bool():
                writer.add_bool(name, value)
            case int():
                writer.add_uint32(name, value)
            case []:
                continue  # the library cannot write a list of nothing
            case list():
                writer.add_array(name, value)
    made = {}
    for name, tensor in matrices.items():
        used = gguf.GGMLQuantizationType[kind if tensor.ndim == 2 else "F32"]
        packed = gguf.quantize(tensor, used)
        writer.add_tensor(name, packed, raw_dtype=used)
        made[name] = gguf.dequantize(packed, used).reshape(tensor.shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return made
