"""Pretraining text that is learnt again beside a task, so that what a model knew is kept."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from llmill.text.tokenization.shards import Shards
from llmill.text.tokenization.tokenizer import Tokenizer
from llmill.training import settings
from llmill.training.batches import Batch, Windows


@dataclass(frozen=True)
class Replay:
    """So many windows at a share of the steps, spread evenly. Their mean loss is added to that of
    the task: a batch of their own, whatever the task's batch holds.
    """

    windows: Windows
    share: Fraction  # of the steps
    size: int  # windows at each of these steps

    def at(self, step: int) -> Batch | None:
        """What is replayed at a step: a function of the step alone, so a run can be resumed."""
        before, after = int(step * self.share), int((step + 1) * self.share)
        return self.windows.get(before * self.size, self.size) if after > before else None


def opened(
    section: settings.Replay | None, train: Path, tokenizer: Tokenizer, block_size: int, seed: int
) -> Replay | None:
    """What a section asks for, from the shards of pretraining in a folder; None without a section.

    Raises `UserError` where there are no shards, too little text, or that of another tokenizer.
    """
    if section is None:
        return None
    shards = Shards.for_windows(train, tokenizer, block_size)
    windows = Windows(shards, block_size, seed, section.mask_documents)
    return Replay(windows, Fraction(section.share).limit_denominator(10**6), section.windows)
