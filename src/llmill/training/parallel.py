"""Training over several processes, each of which takes its share of every batch.

`ddp` keeps the whole model in each process (torch's DistributedDataParallel); `fsdp` keeps a shard
of every parameter (FSDP2, `fully_shard`). Losses are summed and divided by the weight of the whole
batch, so without dropout the number of processes changes only the order of the sums.
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
    """Return whether this process trains alone."""
    return not dist.is_initialized()


def wait() -> None:
    """Wait until every process has called this."""
    if not alone():
        dist.barrier()


@contextlib.contextmanager
def together(device: torch.device) -> Iterator[None]:
    """Connect the processes that torchrun started, inside this context. Without torchrun, do
    nothing. If a process is lost, raise `UserError` in the others.
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
            gc.collect()  # a wrapped model that outlives its group may wait for it forever
            dist.destroy_process_group()


def wrap(model: nn.Module, kind: Kind) -> nn.Module:
    """Return the module to call in place of the model, so that backward averages gradients over
    the processes.
    """
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
    """Synchronise the gradients of a forward and backward over the processes only if `now`, which
    is once per step.
    """
    if isinstance(wrapped, DistributedDataParallel) and not now:
        with wrapped.no_sync():
            yield
        return
    if isinstance(wrapped, FSDPModule):
        wrapped.set_requires_gradient_sync(now)
    yield


def share(count: int) -> tuple[int, int]:
    """Return where this process's part of `count` examples begins, and its number of examples."""
    each = count // processes.count()
    return processes.rank() * each, each


def total(values: list[float]) -> list[float]:
    """Return each value summed over the processes."""
    if alone():
        return values
    summed = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(summed)
    return summed.tolist()


def from_first(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the function in the first process, and return its result in all processes."""
    if alone():
        return function(*arguments)
    results = [function(*arguments) if processes.main() else None]
    dist.broadcast_object_list(results)
    return results[0]


def clip(model: nn.Module, limit: float) -> Tensor:
    """Clip the gradients to a total norm of at most `limit`; return the norm before that, ()."""
    return gathered(nn.utils.clip_grad_norm_(model.parameters(), limit))


def gathered(tensor: Tensor) -> Tensor:
    """Return the whole tensor in every process, gathered if it is sharded."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def parted(tensor: Tensor, like: Tensor) -> Tensor:
    """Shard a tensor that every process holds in full as `like` is, or return it unchanged."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def whole(model: M, make: Callable[[], M]) -> M:
    """Return the whole trained model on the CPU. A sharded model is gathered into a new one from
    `make`, whose weights are set only in the first process.
    """
    if not isinstance(model, FSDPModule):
        return model.cpu()
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = get_model_state_dict(model, options=options)
    full_model = make()
    if processes.main():
        full_model.load_state_dict(weights)
    return full_model
