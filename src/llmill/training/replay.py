"""Replay of pretraining text during training on a task, so that a model keeps what it knew."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from llmill.text.tokenization.shards import Shards
from llmill.text.tokenization.tokenizer import Tokenizer
from llmill.training import settings
from llmill.training.batches import Batch, Windows


@dataclass(frozen=True)
class ReplayedWindows:
    """Windows of pretraining text at a share of the steps, spread evenly. They form their own
    batch, and their mean loss is added to the loss of the task.
    """

    windows: Windows
    share: Fraction  # of the steps
    size: int  # number of windows at each of these steps

    def at(self, step: int) -> Batch | None:
        """Return the batch to replay at a step, or None. It depends only on the step, so a run can
        be resumed.
        """
        first = self.first(step)
        return None if first is None else self.windows.get(first, self.size)

    def first(self, step: int) -> int | None:
        """Return the first window of a step's batch, as its place in the run, or None."""
        before, after = int(step * self.share), int((step + 1) * self.share)
        return before * self.size if after > before else None


def opened(
    section: settings.Replay | None, train: Path, tokenizer: Tokenizer, block_size: int, seed: int
) -> ReplayedWindows | None:
    """Return the replay of a section, from the shards of pretraining in a folder, or None without a
    section. Raises `UserError` for missing shards, too little text, or another tokenizer.
    """
    if section is None:
        return None
    shards = Shards.for_windows(train, tokenizer, block_size)
    windows = Windows(shards, block_size, seed, section.mask_documents)
    return ReplayedWindows(
        windows, Fraction(section.share).limit_denominator(10**6), section.windows
    )
