"""Which of the processes of one stage this is; torchrun starts them (`launcher.py`), and the first
one writes.

Schedulers set torchrun's variables, too, for programs that they start by themselves: without
torchrun they mean nothing here.
"""

import os


def rank() -> int:
    """The number of this process, from 0."""
    return _told("RANK", 0)


def local_rank() -> int:
    """Its number among the processes of this machine: that of its GPU."""
    return _told("LOCAL_RANK", 0)


def count() -> int:
    """How many processes share the stage."""
    return _told("WORLD_SIZE", 1)


def main() -> bool:
    """Whether this is the process that tracks, prints and writes."""
    return rank() == 0


def started() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def _told(variable: str, alone: int) -> int:
    return int(os.environ.get(variable, alone)) if started() else alone
