"""The parts of a stage's work that other jobs may do before the stage runs.

A part is a folder under the hash of what it is made of, and it is whole as soon as it is there. A
job ahead of the stage makes some (`llmill part`, which Snakemake scatters); the stage makes those
that are missing. So a stage that was stopped goes on with the parts that it had made, too.
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
GONE = f"{FOLDER}.gone"  # what is being removed


@dataclass(frozen=True)
class Part:
    """What one folder is made of, and how."""

    made_of: dict[str, Any]  # whatever changes what is written
    write: Callable[[Path], None]  # into an empty folder


@dataclass(frozen=True)
class Parts:
    """The folders of a stage's parts, below one folder."""

    folder: Path
    code: str  # the hash of the stage's code

    def made(self, part: Part) -> Path:
        """The part's folder; it is made if nobody has made it."""
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
    """Remove a stage's parts, all at once: a removal that is cut off leaves no part that lacks
    files.
    """
    gone = scratch / GONE
    shutil.rmtree(gone, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        (scratch / FOLDER).rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _flush(path: Path) -> None:
    """A machine that dies leaves no part whose files are cut off or missing."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
