"""Request chat completions from a server with the OpenAI interface, several at a time.

Every reply is cached on disk by the content of its request. An answered request is not sent again:
not for an equal request, not in a second run, and not in two simultaneous runs.
"""

import contextlib
import hashlib
import json
import math
import os
import queue
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
from filelock import FileLock

from llmill.contract import elsewhere, proxies, record
from llmill.contract.errors import UserError
from llmill.contract.progress import Progress, in_silence
from llmill.evaluation.judging import budget, completions
from llmill.evaluation.judging.budget import Purse, Spent, Usage
from llmill.evaluation.judging.completions import Reply, Request
from llmill.evaluation.judging.settings import JudgeServer

BACKOFF = 1.0  # seconds before the first retry; doubles with each retry
LONGEST_PAUSE = 30.0  # largest backoff, in seconds
LONGEST_WAIT = 600.0  # longest wait that a server may request, in seconds
GRACE = 5.0  # seconds that a stopped run waits for requests in flight
LOOK = 0.5  # seconds between two looks for a signal
PASSING = {408, 409, 425, 429}  # worth a retry, as are 5xx
GIVEN_UP = {408, 502, 504}  # a gateway gave up; the server behind it may have used tokens
UNSENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
)  # the request was not sent, so it used no tokens

Answer = tuple[str, Reply | Exception]  # with the request's key


class Unusable(Exception):
    """The server gave no usable reply: it is away, refuses, or has another interface."""


class Passing(Exception):
    """A failure that a retry may fix. `lost`: the server may have used tokens all the same."""

    def __init__(self, message: str, lost: bool):
        super().__init__(message)
        self.lost = lost


class Stopping(Exception):
    """Another request failed, so this one stops."""


def ask(
    settings: JudgeServer,
    groups: Sequence[Sequence[Request]],
    cache: Path,
    what: str,
    progress: Progress = in_silence,
) -> list[list[Reply]]:
    """Return the reply to each request, in the order of the groups. `what` is the plural noun for a
    group in messages.

    Raise `UserError` if the server fails or if a request could exceed the budget. `cache` keeps all
    replies, also those of requests that were in flight.
    """
    cache.mkdir(parents=True, exist_ok=True)
    keys = [[_key(settings, each) for each in group] for group in groups]
    requests = {
        key: each
        for names, group in zip(keys, groups, strict=True)
        for key, each in zip(names, group, strict=True)
    }
    kept = _kept(cache, requests)
    if len(kept) < len(requests):
        with FileLock(cache.with_name(f"{cache.name}.lock")):
            kept |= _kept(cache, requests.keys() - kept.keys())  # from a run that held the lock
            spent = (completions.taken(reply, requests[key]) for key, reply in kept.items())
            purse = Purse(settings.budget, settings.price, sum(spent, budget.NOTHING))
            rest = {key: each for key, each in requests.items() if key not in kept}
            failed = _ask(settings, rest, kept, purse, cache, _Groups(keys, kept, progress))
        if failed is not None:
            done = sum(all(key in kept for key in names) for names in keys)
            raise UserError(_about(settings, failed, f"{done} of {len(keys)} {what}", cache))
    return [[kept[key] for key in names] for names in keys]


def url(settings: JudgeServer) -> str:
    """Return the address for chat completions."""
    return settings.base_url.rstrip("/") + "/chat/completions"


def wanted(retry_after: str | None, now: datetime | None = None) -> float:
    """Return the seconds to wait from the header Retry-After, which is a number or a date; 0 for
    anything else.
    """
    if retry_after is None:
        return 0.0
    with contextlib.suppress(ValueError):
        seconds = float(retry_after)
        return max(0.0, seconds) if math.isfinite(seconds) else 0.0
    with contextlib.suppress(TypeError, ValueError):  # TypeError: a date without a zone
        until = parsedate_to_datetime(retry_after) - (now or datetime.now(UTC))
        return max(0.0, until.total_seconds())
    return 0.0


class _Groups:
    """Report progress in groups whose requests are all answered."""

    def __init__(self, keys: list[list[str]], kept: Mapping[str, Reply], progress: Progress):
        self._left = [len({*names} - kept.keys()) for names in keys]
        self._of: dict[str, list[int]] = {}
        for number, names in enumerate(keys):
            for key in {*names} - kept.keys():
                self._of.setdefault(key, []).append(number)
        self._progress = progress
        self._done = self._left.count(0)

    def answered(self, key: str) -> None:
        """Count a request as answered."""
        for number in self._of[key]:
            self._left[number] -= 1
            if not self._left[number]:
                self._done += 1
                self._progress(self._done, len(self._left))


def _ask(
    settings: JudgeServer,
    requests: Mapping[str, Request],
    kept: dict[str, Reply],
    purse: Purse,
    cache: Path,
    groups: _Groups,
) -> Unusable | Spent | None:
    """Add the replies to `kept`. Return the failure of the first request that has one, or None."""
    todo: queue.SimpleQueue[tuple[str, Request]] = queue.SimpleQueue()
    for item in requests.items():
        todo.put(item)
    answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
    failures: dict[str, Exception] = {}
    secret = os.environ.get(settings.key_variable)
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    with proxies.client(url(settings), timeout=settings.timeout, headers=headers) as client:
        asker = _Asker(settings, client, purse, cache)
        threads = [
            threading.Thread(target=asker.work, args=(todo, answers), daemon=True)
            for _ in range(min(settings.concurrency, len(requests)))
        ]
        working = len(threads)
        try:
            for thread in threads:
                thread.start()
            while working:
                match _next(answers):
                    case None:
                        working -= 1
                    case key, Reply() as reply:
                        kept[key] = reply
                        groups.answered(key)
                    case key, error:
                        failures[key] = error
        except BaseException:  # for example a signal
            asker.stop.set()
            ends = time.monotonic() + GRACE
            for thread in threads:
                if thread.is_alive():  # a thread that never started cannot be joined
                    thread.join(max(0.0, ends - time.monotonic()))
            raise
    first = next((failures[key] for key in requests if key in failures), None)
    if first is not None and not isinstance(first, Unusable | Spent):
        raise first
    return first


def _next(answers: "queue.SimpleQueue[Answer | None]") -> "Answer | None":
    """Wait for the next answer.

    The wait has an end, because a signal that comes just before a wait does not interrupt it, and
    Python handles the signal only when the wait ends.
    """
    while True:
        with contextlib.suppress(queue.Empty):
            return answers.get(timeout=LOOK)


class _Asker:
    """The state that the threads of a run share."""

    def __init__(self, settings: JudgeServer, client: httpx.Client, purse: Purse, cache: Path):
        self._settings, self._client, self._purse, self._cache = settings, client, purse, cache
        self._resume = 0.0  # earliest next request by Retry-After, monotonic clock
        self.stop = threading.Event()

    def work(
        self,
        todo: "queue.SimpleQueue[tuple[str, Request]]",
        answers: "queue.SimpleQueue[Answer | None]",
    ) -> None:
        """Process requests until none are left or one fails; then put None into `answers`."""
        while not self.stop.is_set():
            try:
                key, request = todo.get_nowait()
            except queue.Empty:
                break
            try:
                answers.put((key, self._reply(key, request)))
            except Stopping:
                break
            except Exception as error:  # the thread that waits raises it
                self.stop.set()
                answers.put((key, error))
        answers.put(None)

    def _reply(self, key: str, request: Request) -> Reply:
        """Return the server's reply; retry failures that may pass."""
        most, trouble = completions.most(request), ""
        for attempt in range(self._settings.retries + 1):
            self._pause(min(LONGEST_PAUSE, BACKOFF * 2 ** (attempt - 1)) if attempt else 0.0)
            self._purse.take(most)
            taken = budget.NOTHING
            try:
                if self.stop.is_set():  # it may have changed while `take` waited
                    raise Stopping
                reply = self._attempt(key, request)
                taken = completions.taken(reply, request)
                return reply
            except Passing as error:
                trouble = str(error)
                taken = most if error.lost else budget.NOTHING
            finally:
                self._purse.settle(most, taken)
        raise Unusable(f"{trouble}, {self._settings.retries + 1} times")

    def _pause(self, seconds: float) -> None:
        """Wait `seconds`, and longer if the server told any thread to wait longer."""
        until = time.monotonic() + seconds
        while (left := max(until, self._resume) - time.monotonic()) > 0:
            if self.stop.wait(left):
                raise Stopping

    def _attempt(self, key: str, request: Request) -> Reply:
        """Send the request once; cache and return the reply."""
        try:
            response = self._client.post(url(self._settings), json=request)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise Unusable(f"not an address ({_line(str(error))})") from None
        except httpx.RequestError as error:
            trouble = f"away ({type(error).__name__}: {_line(str(error))})"
            raise Passing(trouble, lost=not isinstance(error, UNSENT)) from None
        if response.status_code != 200:
            self._refused(response)
        reply = completions.read(key, response)
        if reply is None:
            trouble = f"answers without choices[0].message ({_line(response.text)})"
            raise Passing(trouble, lost=True)
        _keep(self._cache, reply, request)
        return reply

    def _refused(self, response: httpx.Response) -> None:
        status = response.status_code
        trouble = f"answers {status} ({_line(response.text)})"
        if status < 500 and status not in PASSING:
            raise Unusable(f"{trouble}{_key_hint(self._settings, status)}")
        wait = wanted(response.headers.get("Retry-After"))
        if wait > LONGEST_WAIT:
            raise Unusable(f"{trouble} and asks to wait {wait:,.0f} seconds")
        self._resume = max(self._resume, time.monotonic() + wait)
        raise Passing(trouble, lost=status in GIVEN_UP)


def _key(settings: JudgeServer, request: Request) -> str:
    identity = json.dumps([url(settings), request], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()


def _keep(cache: Path, reply: Reply, request: Request) -> None:
    usage = None if reply.usage is None else vars(reply.usage)
    value = {"reply": reply.text, "cut": reply.cut, "usage": usage, "request": request}
    record.write_json(cache / f"{reply.key}.json", value)


def _kept(cache: Path, keys: Iterable[str]) -> dict[str, Reply]:
    files = {key: cache / f"{key}.json" for key in keys}
    return {key: _kept_reply(key, file) for key, file in files.items() if file.exists()}


def _kept_reply(key: str, file: Path) -> Reply:
    try:
        value = elsewhere.parsed(file.read_text(encoding="utf-8"))
        usage = None if value["usage"] is None else Usage(**value["usage"])
        return Reply(key, value["reply"], value["cut"], usage)
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file}: damaged; remove it and the judge is asked again") from None


def _about(settings: JudgeServer, failed: Unusable | Spent, done: str, cache: Path) -> str:
    where, on = f"{url(settings)}{proxies.through(url(settings))}", ""
    if isinstance(failed, Spent):
        where, on = url(settings), f"raise judge.openai.budget.{failed.key} and "
    return (
        f"judge.openai: {where}: {failed}; {done} are scored and kept in {cache}, {on}the same "
        "command goes on from there"
    )


def _key_hint(settings: JudgeServer, status: int) -> str:
    return f", set {settings.key_variable} to a valid key" if status in (401, 403) else ""


def _line(text: str) -> str:
    return " ".join(text.split())[:160]
