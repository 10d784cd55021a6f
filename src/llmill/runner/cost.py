"""The cost of a stage, in the columns of Snakemake's benchmarks."""

import csv
import datetime
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from llmill.contract import record
from llmill.contract.errors import UserError


@dataclass(frozen=True)
class Cost:
    """The values that are read from a cost file."""

    seconds: float
    memory: float  # MiB, at its peak
    record: str | None = None  # hash of the record of the result; None in an older file


def write(file: Path, record_hash: str) -> None:
    """Write seconds since the process began, peak memory of it or of one that it started (MiB), and
    CPU seconds. For a training that was continued, they describe its last process. The hash tells
    which result they belong to.
    """
    own, started = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    seconds = time.time() - psutil.Process().create_time()
    unit = 2**20 if sys.platform == "darwin" else 2**10
    columns = {
        "s": f"{seconds:.4f}",
        "h:m:s": str(datetime.timedelta(seconds=int(seconds))),
        "max_rss": f"{max(own.ru_maxrss, started.ru_maxrss) / unit:.2f}",
        "cpu_time": f"{own.ru_utime + own.ru_stime + started.ru_utime + started.ru_stime:.2f}",
        "record": record_hash,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = ("\t".join(cells) for cells in (columns, columns.values()))
    record.write_bytes(file, "".join(f"{line}\n" for line in lines).encode())


def read(file: Path) -> Cost | None:
    """Return the cost of the last run, or None if it was not recorded. Raises `UserError` for
    another file.
    """
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            (row,) = csv.DictReader(opened, delimiter="\t")
        return Cost(float(row["s"]), float(row["max_rss"]), row.get("record"))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, csv.Error):
        raise UserError(f"{file}: not what a stage took; remove it, or run its stage") from None
