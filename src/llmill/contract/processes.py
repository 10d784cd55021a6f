"""Identify this process among those of one stage. torchrun starts them (`launcher.py`), and the
first one writes.

Schedulers set torchrun's variables, too, for programs that they start themselves. The variables
count only if torchrun started this process.
"""

import os


def rank() -> int:
    """Return the number of this process, from 0."""
    return _told("RANK", 0)


def local_rank() -> int:
    """Return its number among the processes of this machine, which is the number of its GPU."""
    return _told("LOCAL_RANK", 0)


def count() -> int:
    """Return how many processes share the stage."""
    return _told("WORLD_SIZE", 1)


def main() -> bool:
    """Return whether this is the process that tracks, prints and writes."""
    return rank() == 0


def started() -> bool:
    """Return whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def _told(variable: str, alone: int) -> int:
    return int(os.environ.get(variable, alone)) if started() else alone
