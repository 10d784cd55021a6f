"""Several processes of one stage: torchrun starts them, each runs the stage, the first one writes.

One machine needs nothing more than `processes` in the stage's section. On several, torchrun's own
environment (`PET_NNODES`, `PET_RDZV_ENDPOINT`, ...) says where they meet: docs/scaling.md.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from llmill.contract.errors import Stopped, UserError
from llmill.contract.schema import LAYOUT

if TYPE_CHECKING:
    from llmill.contract.params import Selected

LAUNCHER = "LLMILL_LAUNCHER"  # the process that started torchrun


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Its number among the processes of this machine: that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def count() -> int:
    """How many processes share the stage."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def main() -> bool:
    """Whether this is the process that tracks, prints and writes."""
    return rank() == 0


def started() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def wanted(chosen: Selected, name: str) -> int:
    """How many processes the stage's section asks for; refuses another number of started ones.

    A section that spreads its work by itself, without torchrun, is not meant.
    """
    asked = getattr(chosen, name).processes if name in LAYOUT else 1
    if started() and count() != asked:
        raise UserError(f"{name}.processes is {asked}, but torchrun started {count()} processes")
    return asked


def orphaned() -> bool:
    """Whether the process that started this one among others has vanished."""
    return started() and os.environ.get(LAUNCHER, str(os.getppid())) != str(os.getppid())


def launch(processes: int, words: list[str]) -> None:
    """Run `python -m llmill WORDS` in so many processes, over all nodes, until all have ended.

    One that fails takes the others with it; raises `UserError` or `Stopped` as it ended.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch
    from torch.distributed.run import config_from_args, parse_args

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # else torchrun says so; the stage sets its own
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = (
        "SIGTERM,SIGINT"  # a closed terminal stops nothing
    )
    os.environ[LAUNCHER] = str(os.getpid())
    nodes = int(os.environ.get("PET_NNODES", "1"))
    if processes % nodes:
        raise UserError(f"{processes} processes cannot be spread evenly over {nodes} nodes")
    meeting = [] if nodes > 1 else ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    here = [f"--nproc-per-node={processes // nodes}", *meeting, "--module", "llmill", *words]
    config, command, arguments = config_from_args(parse_args(here))
    try:
        elastic_launch(config=config, entrypoint=command)(*arguments)
    except SignalException as stopped:
        raise Stopped(int(stopped.sigval)) from None
    except ChildFailedError as error:
        first, failure = error.get_first_failure()
        if failure.exitcode > 128:
            raise Stopped(failure.exitcode - 128) from None
        ended = f"by signal {-failure.exitcode}" if failure.exitcode < 0 else "as it said"
        raise UserError(
            f"process {first} of {processes} ended {ended}; the others were stopped"
        ) from None
