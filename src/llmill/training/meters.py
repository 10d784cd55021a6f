"""Meters of a training: tokens per second, FLOPs, utilisation, where the time goes, memory.

Every rate is an amount over a difference of two readings of one clock. The figures go to the
tracker and the log, never into a result.
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
PEAK_SIZE = {"cpu": 2048, "cuda": 8192}  # of the square matrices whose product stands for the peak
PEAK_TRIES = 3


class Meter:
    """Reads the clock around the parts of a step, and gives the figures of an interval.

    On a GPU the parts are the time in which work was handed over, not in which it was done; the
    interval as a whole is true on both.
    """

    def __init__(self, flops_per_token: float, peak: float, clock: Clock = time.perf_counter):
        """`peak`: FLOP/s that the device reaches in a matrix product; 0 if not measured."""
        self._flops_per_token, self._peak, self._clock = flops_per_token, peak, clock
        self.begin()

    def begin(self) -> None:
        """Begin an interval."""
        self._begun, self._tokens = self._clock(), 0
        self._parts: dict[str, float] = {}

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Inside counts as time of this part: data, forward, backward, optimizer."""
        start = self._clock()
        try:
            yield
        finally:
            self._parts[name] = self._parts.get(name, 0.0) + self._clock() - start

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Inside does not count at all: validation and saving are no training."""
        start = self._clock()
        try:
            yield
        finally:
            self._begun += self._clock() - start

    def count(self, tokens: int) -> None:
        """So many tokens more were trained on."""
        self._tokens += tokens

    def read(self) -> Figures:
        """The figures of the interval; the next one begins."""
        seconds = self._clock() - self._begun
        speed = self._tokens / seconds
        figures: Figures = {"tokens_per_second": speed, "peak_memory_bytes": float(peak_memory())}
        if self._peak:
            figures["utilisation"] = speed * self._flops_per_token / self._peak
        figures |= {f"share_{name}": spent / seconds for name, spent in self._parts.items()}
        self.begin()
        return figures


def flops_per_token(model: Transformer, head_share: float = 1.0) -> float:
    """FLOPs of forward and backward for one token of a full context: 6N + 12 L C T (PaLM, appendix
    B), N the parameters of matrix products: all matrices but the tables that are looked up. The
    head counts for `head_share` of the positions: those that ask for logits.
    """
    config = model.config
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    looked_up = tables - {id(model.head.weight)}
    n = sum(p.numel() for p in model.parameters() if p.dim() == 2 and id(p) not in looked_up)
    unused = (1 - head_share) * model.head.weight.numel()
    return 6.0 * (n - unused) + 12.0 * config.n_layer * config.n_embd * config.block_size


def matrix_peak(
    device: torch.device, dtype: torch.dtype, clock: Clock = time.perf_counter
) -> float:
    """FLOP/s of the fastest of a few square products, the device waited for; of random numbers,
    since GPUs multiply equal ones faster.
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
    """Most bytes that were in use at once: on the GPU where there is one, else by the process."""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
