"""The parts of a stage's work that other jobs may do before the stage runs.

A part is a folder named by the hash of its inputs, and it is complete as soon as it exists. A job
before the stage makes some parts (`llmill part`, which Snakemake scatters); the stage makes the
missing ones. A stage that was stopped therefore also continues with the parts it had made.
"""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmill.contract import record
from llmill.contract.errors import UserError

FOLDER = "parts"  # below a stage's scratch folder
GONE = f"{FOLDER}.gone"  # parts that are being removed


@dataclass(frozen=True)
class Part:
    """One part of the work: the values that it is made of, and the function that writes it."""

    made_of: dict[str, Any]  # everything that affects what is written
    write: Callable[[Path], None]  # into an empty folder


@dataclass(frozen=True)
class Parts:
    """The folders of a stage's parts, below one folder."""

    folder: Path
    code: str  # the hash of the stage's code

    def made(self, part: Part) -> Path:
        """Return the part's folder; make it first if it does not exist."""
        name = record.sha256_text(record.to_json([self.code, part.made_of]))[:32]
        place = self.folder / name
        if place.is_dir():
            return place
        self.folder.mkdir(parents=True, exist_ok=True)
        own = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=self.folder))
        try:
            part.write(own)
            for path in (*record.files_under(own), own):
                _flush(path)
            own.rename(place)
        except OSError as error:
            if not own.exists():
                raise UserError(
                    f"{own}: somebody removed it meanwhile; the stage has ended, or `llmill clean` "
                    "ran"
                ) from None
            if not (error.errno in (errno.ENOTEMPTY, errno.EEXIST) and place.is_dir()):
                raise
            # Another job was first, with the same bytes.
        finally:
            shutil.rmtree(own, ignore_errors=True)
        return place


def remove(scratch: Path) -> None:
    """Remove a stage's parts all at once: an interrupted removal leaves no incomplete part."""
    gone = scratch / GONE
    shutil.rmtree(gone, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        (scratch / FOLDER).rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _flush(path: Path) -> None:
    """Flush a path to disk, so that a machine that dies leaves no part with truncated or missing
    files.
    """
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
