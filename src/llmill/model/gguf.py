"""Read models from a single file in llama.cpp's format, GGUF.

The metadata are read as the options of a config are. The tensors lie where the same architecture of
transformers has them, under other names; `architectures.py` has the rest. Quantised numbers become
float32, a few rows at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from llmill.contract import elsewhere
from llmill.contract.errors import UserError
from llmill.model import filling, weights
from llmill.model.architectures import ARCHITECTURES, CLASSIC, LLAMA, Change, Layout, TensorRows
from llmill.model.options import Config, Options
from llmill.model.settings import Model, RotaryScaling
from llmill.model.transformer import Transformer, scaled
from llmill.model.weights import StoredTensor, Weights
from llmill.text.files import gguf_file
from llmill.text.files.gguf_file import Gguf

Turning = Callable[[Tensor, int], Tensor]  # takes the rows of all heads, and the rows per head
SLOWER = "rope_freqs.weight"  # factors of rotary positions for a longer context
LLAMA3_CONTEXT = 8192  # original context of Llama 3, which its files do not give
QUERIES, KEYS = "attn_q", "attn_k"  # llama.cpp stores their rows in another order


def load(file: Path) -> Transformer:
    """Load the model of a file, in evaluation mode, in float32 on the CPU.

    Raises `UserError` for anything missing, superfluous, damaged or unknown.
    """
    source = gguf_file.read(file)
    config, vocab_size = _shape(source)
    stored = Quantised.of(source)
    stored.refuse_too_large(config, vocab_size, file)
    turned_back = layout(source.architecture, config, vocab_size, _turned_back)
    names = {name: name for name in stored.tensors}
    unused = (SLOWER,) if config.rotary_scaling is not None else ()  # already in the shape
    return filling.filled(
        lambda: Transformer(config, vocab_size), turned_back, stored, names, unused
    )


def layout(architecture: str, config: Model, vocab_size: int, turned: Turning) -> Layout:
    """Return where the format has each of llmill's tensors. `turned` reorders the rows of queries
    and keys with rotary positions, given the rows per head.

    Matrices are stored as (out, in), as llmill has them, even for GPT-2.
    """
    import gguf

    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds[architecture], config.n_layer)

    def named(part: TensorRows) -> TensorRows:
        stem, _, ending = part.name.rpartition(".")
        name = names.get_name(stem)
        assert name is not None, f"the library has no name for {part.name}"
        rotary = architecture == "llama" and name.endswith((QUERIES, KEYS))
        size = config.n_embd // config.n_head
        change: Change | None = (lambda rows: turned(rows, size)) if rotary else None
        return TensorRows(f"{name}.{ending}", part.rows, change)

    theirs = ARCHITECTURES[architecture].layout(config, vocab_size)
    return {target: [named(part) for part in parts] for target, parts in theirs.items()}


def pairs_together(rows: Tensor, size: int) -> Tensor:
    """Reorder the rows of each head of `size` as llama.cpp has them: the two rows of a pair side by
    side. (rows, ...) to (rows, ...).
    """
    return rows.unflatten(0, (-1, 2, size // 2)).transpose(1, 2).flatten(0, 2)


def _turned_back(rows: Tensor, size: int) -> Tensor:
    """Undo `pairs_together`."""
    return rows.unflatten(0, (-1, size // 2, 2)).transpose(1, 2).flatten(0, 2)


def read_shape(file: Path) -> tuple[Model, int]:
    """Return the shape that the metadata give, and the number of rows of the embedding."""
    return _shape(gguf_file.read(file))


@dataclass(frozen=True)
class Quantised(Weights):
    """The tensors of a file, which are dequantised to floats when they are read."""

    source: Gguf

    @classmethod
    def of(cls, source: Gguf) -> "Quantised":
        """Return the tensors of this file."""
        tensors = {
            name: StoredTensor(source.file, tuple(map(int, reversed(t.shape))), t.tensor_type.name)
            for name, t in source.tensors.items()
        }
        return cls(source.file, tensors, source)

    @property
    def size(self) -> int:
        """Bytes of the tensors in float32; in the file, a quantised number may take two bits."""
        return 4 * sum(t.n_elements for t in self.source.tensors.values())

    def refuse_other_numbers(self, name: str) -> None:
        """Raise `UserError` for numbers that the library cannot convert to floats."""
        kind = self.source.tensors[name].tensor_type
        if not _known(kind):
            raise UserError(
                f"{self.folder}: {name}: numbers of type {kind.name}, which the library gguf does "
                "not turn into floats; another quantisation of the model may do"
            )

    def pieces(self, name: str, whole: bool) -> Iterator[Tensor]:
        """Yield the rows of a tensor, a few at a time, or all at once if `whole`."""
        from gguf import dequantize

        tensor = self.source.tensors[name]
        shape = self.tensors[name].shape
        row = 4 * max(1, int(np.prod(shape[1:])))
        count = shape[0] if whole else max(1, weights.PIECE // row)
        for start in range(0, shape[0], count):
            rows = np.ascontiguousarray(tensor.data[start : start + count])
            floats = dequantize(rows, tensor.tensor_type).reshape(-1, *shape[1:])
            yield torch.from_numpy(np.array(floats, dtype=np.float32))


def _known(kind: object) -> bool:
    """Return whether the library converts this type to floats; integers are not weights."""
    import gguf

    simple = (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16)
    return kind in simple or kind in gguf.quants._type_traits


def _shape(source: Gguf) -> tuple[Model, int]:
    """Return the shape and the number of rows of the embedding, and read every option of the
    architecture.
    """
    prefix = f"{source.architecture}."
    own = {k.removeprefix(prefix): v for k, v in source.values.items() if k.startswith(prefix)}
    options = Options(source.file, own)
    embedding = source.tensors.get("token_embd.weight")
    if embedding is None:
        raise UserError(f"{source.file}: token_embd.weight: no such tensor")
    shape = tuple(map(int, reversed(embedding.shape)))
    if len(shape) != 2 or 0 in shape:
        raise UserError(
            f"{source.file}: token_embd.weight: the file has {shape}, expected a row per token "
            "of the vocabulary; download the model again"
        )
    rows = shape[0]
    options.only("vocab_size", None, rows)
    fields = {"gpt2": _gpt2, "llama": _llama}[source.architecture](options, source)
    fields |= {
        "n_layer": options.whole("block_count"),
        "n_embd": options.whole("embedding_length"),
        "block_size": options.whole("context_length"),
        "mlp_hidden": options.whole("feed_forward_length"),
        "tied": "output.weight" not in source.tensors,
    }
    options.done()
    try:
        return Model(**fields), rows
    except ValidationError as error:
        reason = elsewhere.problem(error)
        raise UserError(f"{source.file}: not a shape of llmill's ({reason})") from None


def _gpt2(options: Options, source: Gguf) -> Config:
    heads = options.whole("attention.head_count")
    return {
        **CLASSIC,
        "n_head": heads,
        "n_kv_head": options.whole("attention.head_count_kv", None) or heads,
        "norm_epsilon": _short(options.number("attention.layer_norm_epsilon")),
        "dropout": 0.0,
    }


def _llama(options: Options, source: Gguf) -> Config:
    heads, width = options.whole("attention.head_count"), options.whole("embedding_length")
    size = width // heads
    for name in ("rope.dimension_count", "attention.key_length", "attention.value_length"):
        options.only(name, None, size)
    options.only("rope.scaling.type", None, "none")
    base = _short(options.number("rope.freq_base", 10000.0))
    options.only("expert_count", None, 0)
    options.only("expert_used_count", None, 0)
    return {
        **LLAMA,
        "n_head": heads,
        "n_kv_head": options.whole("attention.head_count_kv", None) or heads,
        "norm_epsilon": _short(options.number("attention.layer_norm_rms_epsilon")),
        "rotary_base": base,
        "rotary_scaling": _scaling(source, options, base, size),
        "bias": f"blk.0.{QUERIES}.bias" in source.tensors,
    }


def slower(base: float, size: int, scaling: RotaryScaling) -> Tensor:
    """Return how many times slower each pair of D numbers turns, (D/2,) rounded up, as the format
    stores it.
    """
    frequency = base ** (-torch.arange(0, size, 2).float() / size)
    return frequency / scaled(frequency, scaling)


def _scaling(source: Gguf, options: Options, base: float, size: int) -> RotaryScaling | None:
    """Return the Llama 3.1 scaling that gives the factors in the file, or None if it has none.
    Raises `UserError` for factors of another kind.
    """
    before = options.whole("rope.scaling.original_context_length", None) or LLAMA3_CONTEXT
    if SLOWER not in source.tensors:
        return None
    stored = Quantised.of(source)
    stored.refuse_other_numbers(SLOWER)
    # Rounded up: `Model` refuses an odd head later.
    fits = stored.tensors[SLOWER].shape == ((size + 1) // 2,)
    factors = torch.cat(list(stored.pieces(SLOWER, whole=True))) if fits else torch.zeros(1)
    if bool(factors.isfinite().all()) and factors.max() > 1:
        scaling = RotaryScaling(
            factor=_short(float(factors.max())),
            low_frequency_factor=1.0,
            high_frequency_factor=4.0,
            original_block_size=before,
        )
        if torch.allclose(slower(base, size, scaling), factors, rtol=1e-4):
            return scaling
    raise UserError(
        f"{source.file}: {SLOWER}: positions are not scaled as in Llama 3, which is not supported"
    )


def _short(number: float) -> float:
    """Round to the shortest decimal of a float32: 1e-05, as its maker wrote it, not
    9.999999747378752e-06.
    """
    return float(str(np.float32(number)))
