"""Seed, device, number type, threads and determinism of a stage that computes with torch."""

import contextlib
import os

import torch

from llmill.contract.errors import UserError
from llmill.contract.schema import Runtime


def start(seed: int, threads: int) -> None:
    """Fix what the results depend on: the seed, the number of threads, deterministic algorithms."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)


def device(runtime: Runtime) -> torch.device:
    """The device to compute on; `auto` takes a GPU where there is one."""
    if runtime.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "runtime.device = 'cuda': no GPU is visible to torch; set it to auto or cpu"
        )
    if runtime.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(runtime.device)


def autocast(runtime: Runtime) -> contextlib.AbstractContextManager[None]:
    """The context to run the model in: bfloat16 matrix products, or nothing for float32."""
    if runtime.dtype == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device(runtime).type, dtype=torch.bfloat16)
