"""Write a language model as a single file in llama.cpp's format, GGUF: weights, tokenizer and chat
template.

`gguf.py` has the layout of the tensors. The metadata are those that llama.cpp's own conversion
(convert_hf_to_gguf.py) writes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from llmill.contract.errors import UserError
from llmill.contract.values import GgufNumbers
from llmill.model import gguf, huggingface
from llmill.model.settings import Model
from llmill.model.transformer import Transformer
from llmill.text.tokenization import gguf_tokenizer
from llmill.text.tokenization.tokenizer import Tokenizer

if TYPE_CHECKING:
    from gguf import GGUFWriter

TYPES: dict[
    GgufNumbers, tuple[str, str]
] = {  # the library's names of the number type, and of the file type
    "float16": ("F16", "MOSTLY_F16"),
    "bfloat16": ("BF16", "MOSTLY_BF16"),
    "q8_0": ("Q8_0", "MOSTLY_Q8_0"),
}
BLOCK = 32  # numbers of a row that q8_0 packs together
# Tables of positions stay in float32, as norms and biases do. The first is llmill's own name.
PRECISE = ("position.weight", "position_embd.weight", gguf.SLOWER)
ARCHITECTURES = {"gpt2": "gpt2", "llama": "llama"}  # by the model_type of transformers


@dataclass(frozen=True)
class Said:
    """Metadata of a file besides its weights and tokens."""

    name: str
    template: str | None  # chat template, in Jinja
    begins: bool  # whether a text begins with the token that ends a text


def lacking(model: Transformer, tokenizer: Tokenizer) -> str | None:
    """Return why llama.cpp would not compute or tokenize as llmill does; None if it would."""
    architecture = huggingface.fitting(model.config)
    if architecture is None or architecture.model_type not in ARCHITECTURES:
        return "llama.cpp has no architecture with these switches of `model`"
    return gguf_tokenizer.lacking(tokenizer)


def save(
    file: Path, model: Transformer, tokenizer: Tokenizer, said: Said, numbers: GgufNumbers
) -> None:
    """Write the file, for a model that llama.cpp supports (`lacking`). Raises `UserError` for
    numbers that are too large for float16.
    """
    import gguf as library

    architecture = huggingface.fitting(model.config)
    assert architecture is not None, "asked before"
    file.parent.mkdir(parents=True, exist_ok=True)
    writer = library.GGUFWriter(file, architecture.model_type)
    writer.add_type("model")
    writer.add_name(said.name)
    writer.add_file_type(library.LlamaFileType[TYPES[numbers][1]])
    writer.add_quantization_version(library.GGML_QUANT_VERSION)
    _add_shape(writer, architecture.model_type, model.config, model.vocab_size)
    for key, value in gguf_tokenizer.values(tokenizer, said.begins).items():
        _add(writer, key, value)
    if said.template is not None:
        writer.add_chat_template(said.template)
    for name, tensor in _tensors(architecture.model_type, model):
        _add_tensor(writer, name, tensor, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(architecture: str, model: Transformer) -> Iterator[tuple[str, Tensor]]:
    """Yield each tensor of the file with its name there, in float32."""
    layout = gguf.layout(architecture, model.config, model.vocab_size, gguf.pairs_together)
    ours = model.state_dict()
    for name, parts in layout.items():
        rows = ours[name].detach().cpu().float().split([part.rows for part in parts])
        for part, piece in zip(parts, rows, strict=True):
            yield part.name, (part.change(piece) if part.change else piece).contiguous()
    if model.config.rotary_scaling is not None:
        size = model.config.n_embd // model.config.n_head
        yield gguf.SLOWER, gguf.slower(model.config.rotary_base, size, model.config.rotary_scaling)


def rounded(name: str, tensor: Tensor, numbers: GgufNumbers) -> Tensor:
    """Round one of llmill's tensors to the numbers that a file of this type stores, in float32 and
    of the same shape.
    """
    import gguf as library

    used = library.GGMLQuantizationType[_type(name, tensor, numbers)]
    packed = library.quantize(tensor.detach().cpu().float().numpy(), used)
    return torch.from_numpy(np.array(library.dequantize(packed, used))).reshape(tensor.shape)


def _type(name: str, tensor: Tensor, numbers: GgufNumbers) -> str:
    """Return the library's name of a tensor's number type; `name` is llmill's or the file's."""
    used = TYPES[numbers][0]
    if tensor.ndim == 1 or name in PRECISE:
        return "F32"
    # Rows that are not a whole number of blocks get float16, as llama.cpp gives them.
    return "F16" if used == "Q8_0" and tensor.shape[-1] % BLOCK else used


def _add_tensor(writer: "GGUFWriter", name: str, tensor: Tensor, numbers: GgufNumbers) -> None:
    import gguf as library

    used = _type(name, tensor, numbers)
    if used == "F16" and float(tensor.abs().max()) > torch.finfo(torch.float16).max:
        raise UserError(
            f"params.yaml: export.gguf {numbers}: {name} has numbers that float16 does not hold; "
            "take bfloat16"
        )
    number_type = library.GGMLQuantizationType[used]
    packed = library.quantize(tensor.numpy(), number_type)
    writer.add_tensor(name, packed, raw_dtype=number_type)


def _add_shape(writer: "GGUFWriter", architecture: str, config: Model, vocab_size: int) -> None:
    writer.add_block_count(config.n_layer)
    writer.add_context_length(config.block_size)
    writer.add_embedding_length(config.n_embd)
    writer.add_feed_forward_length(config.mlp_hidden)
    writer.add_head_count(config.n_head)
    writer.add_vocab_size(vocab_size)
    if architecture == "gpt2":
        writer.add_layer_norm_eps(config.norm_epsilon)
        return
    writer.add_head_count_kv(config.n_kv_head)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_rope_freq_base(config.rotary_base)
    writer.add_rope_dimension_count(config.n_embd // config.n_head)
    if config.rotary_scaling is not None:
        writer.add_rope_scaling_orig_ctx_len(config.rotary_scaling.original_block_size)


def _add(writer: "GGUFWriter", key: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case str():
            writer.add_string(key, value)
        case _:
            writer.add_array(key, value)
