"""Seed, device, number type, threads and determinism of a stage that computes with torch."""

import contextlib
import ctypes
import os
import sys

import torch

from llmill.contract import processes
from llmill.contract.errors import UserError
from llmill.contract.hardware import Runtime
from llmill.contract.values import Dtype

# mallopt(3): from which size glibc maps memory anew, and when it returns freed memory.
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
KEEP_UP_TO = 1 << 30  # bytes
NUMBER_TYPES: dict[Dtype, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def start(seed: int, threads: int) -> None:
    """Fix what the results depend on: the seed, the number of threads, deterministic algorithms."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    # As use_deterministic_algorithms, but without importing the compiler, which takes a second.
    torch.set_deterministic_debug_mode("error")
    # No result depends on it. mypy does not see a module's property as an attribute.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    _keep_freed_memory()


def device(runtime: Runtime) -> torch.device:
    """Return the device to compute on; `auto` uses a GPU if there is one, one for each process."""
    if runtime.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "runtime.device = 'cuda': no GPU is visible to torch; set it to auto or cpu"
        )
    kind = runtime.device
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cpu":
        return torch.device(kind)
    if processes.local_rank() >= torch.cuda.device_count():
        raise UserError(
            f"process {processes.local_rank() + 1} of this machine has no GPU of its own: there "
            f"are {torch.cuda.device_count()}; lower `processes`"
        )
    return torch.device(kind, processes.local_rank())


def dtype(runtime: Runtime) -> torch.dtype:
    """Return the number type of matrix products; `auto` is bfloat16 if the device has instructions
    for it, else float32.
    """
    if runtime.dtype == "auto":
        return torch.bfloat16 if _multiplies_bfloat16(device(runtime)) else torch.float32
    return NUMBER_TYPES[runtime.dtype]


def warning(runtime: Runtime) -> str | None:
    """Return a line about a number type that is slow on the device, or None."""
    slow = runtime.dtype == "bfloat16" and not _multiplies_bfloat16(device(runtime))
    if not slow:
        return None
    return (
        "runtime.dtype is bfloat16, for which this processor has no instructions: training takes "
        "many times as long as in float32; auto takes what the processor has"
    )


def autocast(runtime: Runtime) -> contextlib.AbstractContextManager[None]:
    """Return the context to run the model in: bfloat16 matrix products, or nothing for float32."""
    if dtype(runtime) == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device(runtime).type, dtype=torch.bfloat16)


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether the device has instructions for bfloat16. Without them, torch's products for
    the backward pass take a hundred times as long as in float32 (Zen 3).
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return bool(torch.cpu._is_avx512_bf16_supported())
    available = torch.backends.mkldnn.is_available()
    return available and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _keep_freed_memory() -> None:
    """Let the process keep the memory that it frees: each step allocates the same tensors again,
    and fresh pages cost a quarter of the time. Only Linux with glibc is changed.

    An older glibc maps anything larger than 32 MiB anew and refuses a higher threshold.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt and any(mallopt(MMAP_THRESHOLD, size) for size in (KEEP_UP_TO, 32 << 20)):
        mallopt(TRIM_THRESHOLD, KEEP_UP_TO)
