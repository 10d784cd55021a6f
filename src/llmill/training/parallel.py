"""One training spread over several processes: each takes its share of every batch.

`ddp` keeps the whole model in each process (torch's DistributedDataParallel); `fsdp` keeps a shard
of every parameter (FSDP2, `fully_shard`). Losses are summed and divided by the weight of the whole
batch, so without dropout the number of processes changes nothing but the order of the sums.
"""

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import init_device_mesh
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from llmill.contract import processes
from llmill.contract.errors import UserError

Kind = Literal["ddp", "fsdp"]
M = TypeVar("M", bound=nn.Module)


def alone() -> bool:
    """Whether this process trains by itself."""
    return not dist.is_initialized()


def wait() -> None:
    """Return when every process has come here."""
    if not alone():
        dist.barrier()


@contextlib.contextmanager
def together(device: torch.device) -> Iterator[None]:
    """Inside, the processes that torchrun started know of each other; alone, nothing.

    Raises `UserError` in those that are left when one is lost.
    """
    if not processes.started():
        yield
        return
    try:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        yield
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        raise UserError(
            f"process {processes.rank()} of {processes.count()} lost the others: "
            f"{str(error).splitlines()[0]}"
        ) from None
    finally:
        if dist.is_initialized():
            gc.collect()  # a wrapped model that goes after its group may wait for it for ever
            dist.destroy_process_group()


def wrap(model: nn.Module, kind: Kind) -> nn.Module:
    """What to call in place of the model, so that gradients are summed over the processes."""
    if alone():
        return model
    if kind == "ddp":
        return DistributedDataParallel(model, gradient_as_bucket_view=True)
    device = next(model.parameters()).device
    mesh = init_device_mesh(device.type, (processes.count(),))
    for block in model.get_submodule("blocks").children():
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


@contextlib.contextmanager
def synchronised(wrapped: nn.Module, now: bool) -> Iterator[None]:
    """Forward and backward inside sum gradients over the processes only if `now`: once a step."""
    if isinstance(wrapped, DistributedDataParallel) and not now:
        with wrapped.no_sync():
            yield
        return
    if isinstance(wrapped, FSDPModule):
        wrapped.set_requires_gradient_sync(now)
    yield


def share(count: int) -> tuple[int, int]:
    """Where this process's part of `count` examples begins, and how many they are."""
    each = count // processes.count()
    return processes.rank() * each, each


def total(values: list[float]) -> list[float]:
    """Each value summed over the processes."""
    if alone():
        return values
    summed = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(summed)
    return summed.tolist()


def from_first(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns in the first process, in all of them."""
    if alone():
        return function(*arguments)
    results = [function(*arguments) if processes.main() else None]
    dist.broadcast_object_list(results)
    return results[0]


def clip(model: nn.Module, limit: float) -> Tensor:
    """Scale the gradients to at most this norm; returns the norm that they had."""
    return gathered(nn.utils.clip_grad_norm_(model.parameters(), limit))


def gathered(tensor: Tensor) -> Tensor:
    """The tensor in one piece in every process, wherever its parts lie."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def parted(tensor: Tensor, like: Tensor) -> Tensor:
    """Of a tensor that every process holds, the part that it holds of `like`."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def whole(model: M, make: Callable[[], M]) -> M:
    """The trained model in one piece, on the CPU; sharded, it is put together in a new one."""
    if not isinstance(model, FSDPModule):
        return model.cpu()
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = get_model_state_dict(model, options=options)
    full_model = make()
    if processes.main():
        full_model.load_state_dict(weights)
    return full_model
