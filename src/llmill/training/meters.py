"""Meters of training: tokens per second, FLOPs, utilisation, shares of time, memory.

Every rate is an amount divided by the difference of two readings of the same clock. The figures go
to the tracker and the log, never into a result.
"""

import contextlib
import resource
import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import nn

from llmill.model.transformer import Transformer
from llmill.training.progress import Figures

Clock = Callable[[], float]  # seconds
PEAK_SIZE = {"cpu": 2048, "cuda": 8192}  # rows of the square matrices whose product is the peak
PEAK_TRIES = 3


class Meter:
    """Reads the clock around the parts of a step, and returns the figures of an interval.

    On a GPU, the time of a part is the time to launch its work, not to complete it. The time of a
    whole interval is exact on CPU and GPU.
    """

    def __init__(self, flops_per_token: float, peak: float, clock: Clock = time.perf_counter):
        """Start the meter. `peak` is the device's FLOP/s in a matrix product, 0 if not measured."""
        self._flops_per_token, self._peak, self._clock = flops_per_token, peak, clock
        self.begin()

    def begin(self) -> None:
        """Start an interval."""
        self._begun, self._tokens = self._clock(), 0
        self._parts: dict[str, float] = {}

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time inside as time of this part: data, forward, backward or optimizer."""
        start = self._clock()
        try:
            yield
        finally:
            self._parts[name] = self._parts.get(name, 0.0) + self._clock() - start

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Exclude the time inside from the interval: validation and saving are not training."""
        start = self._clock()
        try:
            yield
        finally:
            self._begun += self._clock() - start

    def count(self, tokens: int) -> None:
        """Add the number of tokens of a step."""
        self._tokens += tokens

    def read(self) -> Figures:
        """Return the figures of the interval, and start the next one."""
        seconds = self._clock() - self._begun
        speed = self._tokens / seconds
        figures: Figures = {"tokens_per_second": speed, "peak_memory_bytes": float(peak_memory())}
        if self._peak:
            figures["utilisation"] = speed * self._flops_per_token / self._peak
        figures |= {f"share_{name}": spent / seconds for name, spent in self._parts.items()}
        self.begin()
        return figures


def flops_per_token(model: Transformer, length: float, head_share: float = 1.0) -> float:
    """Return the FLOPs of forward and backward for one token of a row of T = `length` tokens:
    6N + 12 L C T (PaLM, appendix B). N counts the parameters in matrix products: all matrices
    except embedding tables. The head counts for `head_share` of the positions, those that need
    logits.
    """
    config = model.config
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    looked_up = tables - {id(model.head.weight)}
    n = sum(p.numel() for p in model.parameters() if p.dim() == 2 and id(p) not in looked_up)
    unused = (1 - head_share) * model.head.weight.numel()
    return 6.0 * (n - unused) + 12.0 * config.n_layer * config.n_embd * length


def matrix_peak(
    device: torch.device, dtype: torch.dtype, clock: Clock = time.perf_counter
) -> float:
    """Return the FLOP/s of the fastest of a few square products, waiting for the device. The
    numbers are random, because GPUs multiply equal numbers faster.
    """
    size = PEAK_SIZE[device.type]
    numbers = torch.rand(size, size, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    seconds = []
    for _ in range(PEAK_TRIES + 1):  # the first one warms up
        start = clock()
        product = numbers @ numbers
        float(product[0, 0])
        seconds.append(clock() - start)
    return 2 * size**3 / min(seconds[1:])


def peak_memory() -> int:
    """Return the peak memory in bytes: of the GPU if torch uses one, else of the process."""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
