"""Feeds the micro-batches of each step to the loop. For a GPU, a thread prepares those of the next
step meanwhile, in pinned memory. On the CPU, a thread would only take time from matrix products.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from llmill.training import parallel
from llmill.training.batches import Batch, Batches

Step = list[Batch]


class Feed:
    """This process's share of every batch of the run, on the device.

    The order depends only on the step. Each step has `micro` batches of `size` examples, each
    divided evenly over the processes.
    """

    def __init__(self, batches: Batches, size: int, micro: int, device: torch.device):
        self._batches, self._size, self._micro, self._device = batches, size, micro, device

    def steps(self, first: int, end: int) -> Iterator[Step]:
        """Yield the micro-batches of each step from `first` up to but not including `end`."""
        if self._device.type != "cuda":
            yield from map(self._make, range(first, end))
            return
        with ThreadPoolExecutor(1) as thread:
            upcoming = thread.submit(self._pinned, first)
            for step in range(first, end):
                micro_batches = upcoming.result()
                upcoming = thread.submit(self._pinned, min(step + 1, end - 1))
                yield [batch.each(self._moved) for batch in micro_batches]

    def _make(self, step: int) -> Step:
        offset, count = parallel.share(self._size)
        starts = ((step * self._micro + i) * self._size + offset for i in range(self._micro))
        return [self._batches.get(start, count) for start in starts]

    def _pinned(self, step: int) -> Step:
        return [batch.each(Tensor.pin_memory) for batch in self._make(step)]

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, non_blocking=True)
