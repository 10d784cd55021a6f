"""Downloads one address into one partial file: streamed, resumed by byte range, retried on failure.

A `.json` beside the partial file names its address and validator; without it, the file is not
resumed. The result is complete but not yet verified: `fetch` compares the hash.
"""

import contextlib
import email.utils
import http
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx

from llmill.contract import disk, proxies, record
from llmill.contract.errors import UserError
from llmill.text.download import s3

TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # seconds
PROGRESS = 1 << 20  # a failed try with this many new bytes does not count
SPARE = 1 << 24  # bytes beyond the expected size after which reading stops

Position = Callable[[int], None]  # is told how many bytes of the file are here


class Failure(Exception):
    """This address gives nothing usable, but another one may. `unreachable`: no server answered."""

    def __init__(self, reason: str, unreachable: bool = False):
        super().__init__(reason)
        self.unreachable = unreachable


class Again(Failure):
    """The same address may work later: after `wait` seconds if the server said so."""

    def __init__(self, reason: str, unreachable: bool = False, wait: float = 0.0):
        super().__init__(reason, unreachable)
        self.wait = wait


@dataclass(frozen=True)
class Network:
    """How to send requests: the connections, the number of retries, and what to do meanwhile."""

    client: httpx.Client
    retries: int
    say: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep
    signer: s3.Signer = field(default_factory=s3.Signer)


@dataclass(frozen=True)
class Expected:
    """What is known of the file beforehand: its bytes, and whether its hash will be compared."""

    url: str
    bytes: int | None
    hashed: bool


def client(timeout: float) -> httpx.Client:
    """Return connections that follow redirects and give up after `timeout` seconds without a byte.

    Raises `UserError` for a proxy that cannot be used.
    """
    # identity: a byte range of a compressed stream is not a byte range of the file
    headers = {"User-Agent": "llmill", "Accept-Encoding": "identity"}
    return proxies.client(timeout=timeout, follow_redirects=True, headers=headers)


def transfer(remote: Expected, part: Path, network: Network, at: Position) -> bool:
    """Bring the whole file into `part`; True if it comes from several answers. Raises `Failure`."""
    tries, best = 0, size(part)
    while True:
        start = _start(remote, part)
        at(start)
        if start and start == remote.bytes:
            return True
        try:
            return _ask(remote, part, start, network, at)
        except Again as problem:
            tries = 0 if size(part) >= best + PROGRESS else tries
            best = max(best, size(part))
            if tries >= network.retries:
                raise Failure(str(problem), problem.unreachable) from None
            wait = problem.wait or min(LONGEST_WAIT, FIRST_WAIT * 2**tries)
            tries += 1
            network.say(f"{remote.url}: {problem}; again in {wait:g} s ({tries}/{network.retries})")
        network.sleep(wait)


def size(path: Path) -> int:
    """Return the bytes of a file, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def forget(part: Path) -> None:
    """Remove a partial file and the note about it."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def room(folder: Path, needed: int) -> None:
    """Raise `UserError` unless the disk of `folder` has `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: {needed:,} bytes needed, {free:,} free on its disk; make room there"
        )


@contextlib.contextmanager
def disk_full_is_one_line(folder: Path) -> Iterator[None]:
    """Raise `UserError` for a disk that fills up while writing, because the user must make room."""
    try:
        yield
    except OSError as error:
        if error.errno not in disk.FULL:
            raise
        raise UserError(f"{folder}: {disk.SAID}") from None


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _noted(part: Path) -> dict[str, str | None]:
    try:
        return record.read_json(_note(part))
    except UserError:  # missing, or half-written by a kill: then nothing is resumed
        return {}


def _start(remote: Expected, part: Path) -> int:
    """Return where to resume: the end of a part that this address can safely continue, else 0."""
    noted, here = _noted(part), size(part)
    too_long = remote.bytes is not None and here > remote.bytes
    if (
        noted.get("url") == remote.url
        and (noted.get("validator") or remote.hashed)
        and not too_long
    ):
        return here
    forget(part)
    return 0


def _ask(remote: Expected, part: Path, start: int, network: Network, at: Position) -> bool:
    """Send one request; True if it completed an earlier one. Raises `Again` or `Failure`."""
    url, headers = remote.url, dict[str, str]()
    in_s3 = s3.is_s3(url)
    try:
        if in_s3:
            url, headers = network.signer.request(url)
        # Following a redirect would send a session's token wherever it leads.
        follow = not (in_s3 and headers)
        headers |= _continued(part, start, in_s3) if start else {}
        with network.client.stream(
            "GET", url, headers=headers, follow_redirects=follow
        ) as response:
            if in_s3 and response.status_code not in (200, 206, 412, 416):
                raise _refused_by_s3(response, network.signer)
            return _take(remote, part, start, response, at)
    except s3.Refusal as error:
        raise Failure(str(error)) from None
    except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL) as error:
        raise Failure(str(error)) from None
    except httpx.DecodingError as error:
        forget(part)
        raise Again(f"{error}") from None
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        reason = f"no connection ({_reason(error)}){proxies.through(url)}"
        raise Again(reason, unreachable=True) from None
    except httpx.TransportError as error:
        raise Again(f"the connection broke off ({_reason(error)})") from None


def _continued(part: Path, start: int, in_s3: bool) -> dict[str, str]:
    """Return the headers that ask for the rest of a file, and only of the same one."""
    headers, validator = {"Range": f"bytes={start}-"}, _noted(part).get("validator")
    if validator and in_s3:  # S3's reference has no If-Range
        by_tag = validator.startswith('"')
        headers["If-Match" if by_tag else "If-Unmodified-Since"] = validator
    elif validator:
        headers["If-Range"] = validator
    return headers


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _take(remote: Expected, part: Path, start: int, response: httpx.Response, at: Position) -> bool:
    """Store the body of an answer, according to its status."""
    if response.status_code == 200:
        forget(part)
        _write(remote, part, response, _length(response), at)
        return False
    if response.status_code == 206 and start:
        begin, total = _content_range(response)
        other = remote.bytes and total and total != remote.bytes
        if begin != start or other or _encoded(response):
            forget(part)
            raise Again("the server sent other bytes than those asked for")
        _write(remote, part, response, total, at)
        return True
    if response.status_code in (412, 416) and start:
        if _content_range(response)[1] == start:
            return True  # all of it was here already
        forget(part)
        raise Again("the part that is here does not belong to the file that the server has")
    raise _refused(response)


def _refused(response: httpx.Response, why: str = "") -> Failure:
    status = response.status_code
    phrases = {code.value: code.phrase for code in http.HTTPStatus}
    message = f"HTTP {status} {phrases.get(status, '')}".strip() + (f" ({why})" if why else "")
    return Again(message, wait=_retry_after(response)) if status in TRY_AGAIN else Failure(message)


def _refused_by_s3(response: httpx.Response, signer: s3.Signer) -> Failure:
    body = b""
    for block in response.iter_bytes():
        body += block
        if len(body) >= s3.WHOLE_ANSWER:
            break
    why = signer.explain(response.status_code, response.headers.get("x-amz-bucket-region"), body)
    if response.has_redirect_location:  # its query may hold a signature
        address = response.headers["Location"].partition("?")[0]
        sent = f"it leads to {address}; a signed request is not sent on"
        why = "; ".join(filter(None, (why, sent)))
    return _refused(response, why)


def _retry_after(response: httpx.Response) -> float:
    """Return the seconds that the server asks for, at most a minute; 0 if it asks for none."""
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return min(LONGEST_WAIT, float(value))
    try:
        wait = (email.utils.parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return 0.0
    return min(LONGEST_WAIT, max(0.0, wait))


def _content_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """Return first byte and total of `bytes 5-9/10`; None for each that is missing."""
    value = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", value.strip())
    if not match:
        return None, None
    first, total = match.groups()
    return (int(first) if first else None), (int(total) if total != "*" else None)


def _length(response: httpx.Response) -> int | None:
    value = response.headers.get("Content-Length", "")
    return int(value) if value.isdecimal() and not _encoded(response) else None


def _encoded(response: httpx.Response) -> bool:
    return response.headers.get("Content-Encoding", "identity").lower() != "identity"


def _write(
    remote: Expected, part: Path, response: httpx.Response, total: int | None, at: Position
) -> None:
    """Append the body to `part`. Raises `Again` if it ends early."""
    here = size(part)
    room(part.parent, (total or remote.bytes or 0) - here)
    longest = remote.bytes + SPARE if remote.bytes else None
    with disk_full_is_one_line(part.parent):
        # Noted before the first byte, so that the two always belong together.
        if not here and not _encoded(response):
            record.write_json(_note(part), {"url": remote.url, "validator": _validator(response)})
        with part.open("ab") as file:
            for block in response.iter_bytes():
                file.write(block)
                here += len(block)
                at(here)
                if longest and here > longest:
                    return
    if total is not None and here > total:
        forget(part)
        raise Again(f"the server sent more than the {total:,} bytes that it announced")
    expected = total if total is not None else remote.bytes
    if expected and here < expected:
        raise Again(f"the connection broke off after {here:,} of {expected:,} bytes")


def _validator(response: httpx.Response) -> str | None:
    """Return what identifies a version in `If-Range`: an ETag that is not weak, else the date."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")
