"""Run one stage in several processes: torchrun starts them, each runs the stage, the first one
writes.

One machine needs only `processes` in the stage's section. On several machines, torchrun's own
environment (`PET_NNODES`, `PET_RDZV_ENDPOINT`, ...) says where they meet: docs/scaling.md.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from llmill.contract import processes
from llmill.contract.errors import Stopped, UserError
from llmill.runner.tree import LAYOUT, Params

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

LAUNCHER = "LLMILL_LAUNCHER"  # the process that started torchrun
MISTAKE = "llmill: "  # how a line about a user's mistake begins
ERROR_FILE = "TORCHELASTIC_ERROR_FILE"  # torchrun reads from it why a process failed
NO_FILE = "<N/A>"  # torchrun's mark for a process that wrote none
FOREIGN = {int(each) for each in signal.Signals} - {signal.SIGTERM}  # torchrun does not send these


def process_count(tree: Params, name: str) -> int:
    """Return how many processes the stage's section asks for. Refuses a different number of started
    ones.

    Sections that spread their work by themselves, without torchrun, count as one process.
    """
    count = getattr(tree, name).processes if name in LAYOUT else 1
    if processes.started() and processes.count() != count:
        raise UserError(
            f"{name}.processes is {count}, but torchrun started {processes.count()} processes"
        )
    return count


def orphaned() -> bool:
    """Return whether torchrun started this process and the parent has vanished."""
    return processes.started() and os.environ.get(LAUNCHER, str(os.getppid())) != str(os.getppid())


def launcher_reports() -> bool:
    """Return whether our launcher reports, once for all processes, how they ended."""
    return os.environ.get(LAUNCHER) == str(os.getppid())


def launch(number: int, words: list[str], signals: Iterable[signal.Signals]) -> None:
    """Run `python -m llmill WORDS` in `number` processes, over all nodes, until all have ended.
    These signals are passed on to them.

    If one fails, the others are stopped. Raises `UserError` or `Stopped`, depending on how it
    ended.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch
    from torch.distributed.run import config_from_args, parse_args

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # else torchrun warns; the stage sets its own
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = ",".join(s.name for s in signals)
    os.environ[LAUNCHER] = str(os.getpid())
    nodes = int(os.environ.get("PET_NNODES", "1"))
    if number % nodes:
        raise UserError(f"{number} processes cannot be spread evenly over {nodes} nodes")
    meeting = [] if nodes > 1 else ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    here = [f"--nproc-per-node={number // nodes}", *meeting, "--module", "llmill", *words]
    config, command, arguments = config_from_args(parse_args(here))
    try:
        elastic_launch(config=config, entrypoint=command)(*arguments)
    except SignalException as stopped:
        raise Stopped(int(stopped.sigval)) from None
    except ChildFailedError as error:
        raise _cause(error, number) from None


def _cause(error: ChildFailedError, number: int) -> BaseException:
    """Return the error for failed processes: the first one's message, or the signal that ended it.

    torchrun stops the others with a signal of its own, which explains nothing. It notices a death
    up to a second after the others do, and they then report that their neighbour is gone.
    """
    failures = error.failures.items()
    killed = [each for each in failures if -each[1].exitcode in FOREIGN]
    spoke = sorted(
        (each for each in failures if each[1].error_file != NO_FILE),
        key=lambda each: (each[1].error_file_data["at"], each[0]),
    )
    if killed and not (spoke and spoke[0][1].timestamp + 1 < killed[0][1].timestamp):
        rank, first = killed[0]
    elif spoke:
        words = spoke[0][1].message
        if words.startswith(MISTAKE):
            return UserError(words.removeprefix(MISTAKE))
        return SystemExit(words)
    else:
        rank, first = min(failures, key=lambda each: (each[1].exitcode > 128, each[1].timestamp))
    if first.exitcode > 128:
        return Stopped(first.exitcode - 128)
    how = f"by signal {-first.exitcode}" if first.exitcode < 0 else f"with {first.exitcode}"
    return UserError(f"process {rank} of {number} ended {how}; the others were stopped")


def run_to_the_end(command: Callable[[], None]) -> None:
    """Run a command. A process that torchrun started then ends at once, with the exit code and
    message that Python would end with.

    Python itself would first free what the exception of a stopped training holds. There, DDP's
    destructor waits, while it holds the interpreter's lock, for a thread of gloo that may be
    waiting for this lock. Each exit is therefore taken while the exception is still held.
    """
    if not processes.started():
        command()
        return
    try:
        command()
        _leave(0)
    except SystemExit as ended:
        _leave(ended.code)
    except BaseException:
        _leave(traceback.format_exc().rstrip())


def _leave(code: object) -> NoReturn:
    """End as `sys.exit(code)` does, but without destructors and exit handlers.

    None of them is needed: MLflow's run ends with the stage, and its threads with the run
    (`Track.finish`).
    """
    words = None if code is None or isinstance(code, int) else str(code)
    number = code if isinstance(code, int) else 0 if words is None else 1
    with contextlib.suppress(OSError):  # nobody reads it any more
        if words is not None and not (launcher_reports() and _left_to_the_launcher(words)):
            print(words, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(number)


def _left_to_the_launcher(words: str) -> bool:
    """Write why this process failed where torchrun reads it. Returns False if that fails."""
    file = os.environ.get(ERROR_FILE)
    if not file:
        return False
    now = time.time()
    said = {"message": words, "timestamp": int(now), "at": now}
    part = Path(f"{file}.part")
    try:
        part.write_text(json.dumps(said), encoding="utf-8")
        part.replace(file)  # torchrun reads it at once, so it is whole or not there
    except OSError:
        return False
    return True
