"""Rows that are shorter early in a training (Li et al. 2021, https://arxiv.org/abs/2108.06084).

A step keeps its tokens, but each of them sees fewer of those before it. That costs less attention,
and the model learns first what the nearest tokens tell.
"""

from collections.abc import Sequence

from llmill.training.batches import Batch, Batches


def shortened(batch: Batch, times: int) -> Batch:
    """Cut each row of T positions into `times` rows of T / times, from left to right. `times` must
    divide T.

    No target is lost: the last position of a short row predicts the first token of the next one.
    """
    # Targets of a loss mask have one dimension. Their order does not change.
    return batch.each(lambda t: t if t.dim() == 1 else t.reshape(len(t) * times, -1))


class ShortRows:
    """The batches of a training of `steps` steps, each of `per_step` rows. The training has a phase
    for each number of `times`, all equally long, in which rows are so many times shorter.
    """

    def __init__(self, batches: Batches, times: Sequence[int], steps: int, per_step: int):
        self.batches, self.n = batches, batches.n
        self.times, self.steps, self.per_step = times, steps, per_step

    def get(self, start: int, count: int) -> Batch:
        step = start // self.per_step
        phase = min(step, self.steps - 1) * len(self.times) // self.steps
        return shortened(self.batches.get(start, count), self.times[phase])
