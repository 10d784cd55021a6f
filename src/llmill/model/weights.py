"""The tensors of a model's folder, in one safetensors file or in several with an index.

The headers of the files are read first, and the config is compared with them before memory of its
size is allocated. Pickle files, which run code, are never read.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from llmill.contract import elsewhere
from llmill.contract.elsewhere import quoted
from llmill.contract.errors import UserError
from llmill.contract.model_folder import WEIGHTS
from llmill.contract.record import flat
from llmill.model.settings import Model

INDEX = "model.safetensors.index.json"
ENDING = ".safetensors"
PIECE = 2 * 2**20  # bytes of a tensor that memory holds at once besides the model
NUMBERS = ("F64", "F32", "F16", "BF16")  # number types of weights
TABLES = 2**28  # bytes that the angles of positions may take, or as many as the weights
LARGEST = 2**31 - 1  # largest size in a config
DRAWS = (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_)
BLOCK_TENSORS = 4  # fewest tensors of a block: two matrices of attention, two of feed-forward


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as the header of its file describes it."""

    file: Path
    shape: tuple[int, ...]
    kind: str  # number type, as safetensors names it


@dataclass(frozen=True)
class Weights:
    """The tensors of a folder by name, which are read a piece at a time."""

    folder: Path
    tensors: dict[str, StoredTensor]

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(file.stat().st_size for file in {each.file for each in self.tensors.values()})

    def refuse_too_large(self, config: Model, vocab_size: int, named_in: Path) -> None:
        """Raise `UserError` if the config in the file `named_in` needs more numbers than these
        files can hold, before memory is allocated for them.
        """
        sizes = {**flat(config.model_dump()), "vocab_size": vocab_size}
        for name, value in sizes.items():
            endless = isinstance(value, float) and not math.isfinite(value)
            if endless or (isinstance(value, int) and value > LARGEST):
                raise UserError(f"{named_in}: {name} = {quoted(value)}: no model has that")
        least = _numbers(config, vocab_size)
        if least > self.size or BLOCK_TENSORS * config.n_layer > len(self.tensors):
            raise UserError(
                f"{named_in}: a model of {config.n_layer:,} layers and {least:,} numbers or more, "
                f"but the weights are {len(self.tensors):,} tensors of {self.size:,} bytes"
            )
        if config.position == "rotary":
            tables = 4 * config.block_size * config.n_embd // config.n_head
            if tables > max(TABLES, self.size):
                raise UserError(
                    f"{named_in}: {config.block_size:,} positions, whose angles take {tables:,} "
                    f"bytes, and the weights only {self.size:,}; write a shorter context there"
                )

    def refuse_other_shape(self, name: str, expected: tuple[int, ...]) -> None:
        """Raise `UserError` for a tensor of another shape than the config gives."""
        stored = self.tensors[name]
        if stored.shape != expected:
            raise UserError(
                f"{stored.file}: {name}: the file has {stored.shape}, the config says {expected}; "
                "download the model again"
            )

    def refuse_other_numbers(self, name: str) -> None:
        """Raise `UserError` for a tensor whose number type is not in NUMBERS: packed or integer."""
        stored = self.tensors[name]
        if stored.kind not in NUMBERS:
            raise UserError(
                f"{stored.file}: {name}: numbers of type {stored.kind}; llmill reads "
                f"{', '.join(NUMBERS)}"
            )

    def pieces(self, name: str, whole: bool) -> Iterator[Tensor]:
        """Yield the rows of a tensor, a few at a time, or all at once if `whole`. The tensor must
        have a dimension. The file is opened again for each piece, because an open file keeps what
        was read in memory.
        """
        stored = self.tensors[name]
        row = 4 * max(1, math.prod(stored.shape[1:]))
        count = stored.shape[0] if whole else max(1, PIECE // row)
        for start in range(0, stored.shape[0], count):
            with _opened(stored.file) as opened:
                yield opened.get_slice(name)[start : start + count]

    @torch.no_grad()
    def copy(
        self, name: str, into: Tensor, change: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        """Copy a tensor, which `change` may rearrange as a whole. Raises `UserError` for a number
        that is not finite.
        """
        row = 0
        for piece in self.pieces(name, whole=change is not None):
            if not all(extreme.isfinite() for extreme in piece.aminmax()):  # NaN would be both
                raise UserError(f"{self.tensors[name].file}: {name}: not all numbers are finite")
            changed = change(piece) if change else piece
            into[row : row + len(changed)].copy_(changed)
            row += len(changed)


def of_folder(folder: Path) -> Weights:
    """Read the headers in a Hugging Face folder. Raises `UserError` for files that are missing,
    damaged, or not weights.
    """
    single = (folder / WEIGHTS).exists() or not (folder / INDEX).exists()
    return Weights(folder, _single(folder) if single else _indexed(folder))


def of_file(file: Path) -> Weights:
    """Read the header of one file."""
    return Weights(file.parent, _header(file))


class _Undrawn(TorchFunctionMode):
    """Skips the initialisation of weights: on the meta device it would import torch's compiler,
    which takes a second.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        named = kwargs or {}
        return named["tensor"] if func in DRAWS else func(*args, **named)


@contextlib.contextmanager
def without_memory() -> Iterator[None]:
    """Make models in this context on the meta device: weights have shapes but no memory, and are
    not initialised.
    """
    with torch.device("meta"), _Undrawn():
        yield


def metadata(file: Path) -> dict[str, str]:
    """Return the metadata in a file's header."""
    with _opened(file) as opened:
        return opened.metadata() or {}


def meta_shapes(make: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a model, without allocating it."""
    with without_memory():
        return {name: tuple(tensor.shape) for name, tensor in make().state_dict().items()}


def _numbers(config: Model, vocab_size: int) -> int:
    """Return the least number of parameters of a model of this shape, without biases and an untied
    head.
    """
    c = config.n_embd
    block = 2 * c * c + 2 * c * config.mlp_hidden
    positions = config.block_size * c if config.position == "learned" else 0
    return vocab_size * c + positions + config.n_layer * block


def _single(folder: Path) -> dict[str, StoredTensor]:
    file = folder / WEIGHTS
    if file.exists():
        return _header(file)
    pickled = sorted(folder.glob("*.bin")) + sorted(folder.glob("*.pt*"))
    if pickled:
        raise UserError(
            f"{pickled[0]}: a pickle runs whatever code its maker put in; llmill reads "
            f"safetensors only, and {WEIGHTS} is not there"
        )
    raise UserError(f"{file}: missing")


def _indexed(folder: Path) -> dict[str, StoredTensor]:
    index = folder / INDEX
    file_of = elsewhere.read_object(index).get("weight_map")
    if not isinstance(file_of, dict) or not file_of:
        raise UserError(f"{index}: weight_map is missing; it says which file has which tensor")
    headers: dict[str, Mapping[str, StoredTensor]] = {}
    stored = {}
    for tensor, file in file_of.items():
        if not elsewhere.is_plain(file) or not file.endswith(ENDING):
            raise UserError(f"{index}: {quoted(file)} is no name of a {ENDING} file beside it")
        if file not in headers:
            if not (folder / file).exists():
                raise UserError(f"{folder / file}: missing, but {INDEX} names it")
            headers[file] = _header(folder / file)
        if tensor not in headers[file]:
            raise UserError(f"{folder / file}: {tensor}: missing, but {INDEX} names it")
        stored[tensor] = headers[file][tensor]
    return stored


def _header(file: Path) -> dict[str, StoredTensor]:
    elsewhere.refuse_other_than_files(file)
    tensors = {}
    with _opened(file) as opened:
        for name in sorted(opened.keys()):
            piece = opened.get_slice(name)
            tensors[name] = StoredTensor(file, tuple(piece.get_shape()), piece.get_dtype())
    return tensors


def _opened(file: Path) -> Any:
    try:
        return safe_open(file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file}: cut short or damaged ({error})") from None
