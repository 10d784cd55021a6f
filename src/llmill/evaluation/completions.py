"""Chat completions by a server with the OpenAI interface, several at a time.

Every reply is kept on disk by the content of its request, so nothing that was answered is asked
again: neither for an equal request, nor by a second run, nor by two runs at once.
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
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
from filelock import FileLock

from llmill.contract import elsewhere, proxies, record
from llmill.contract.errors import UserError
from llmill.evaluation import budget
from llmill.evaluation.budget import Purse, Spent, Usage
from llmill.evaluation.scoring import Progress, in_silence
from llmill.evaluation.settings import JudgeServer, Price

BACKOFF, LONGEST_PAUSE = (
    1.0,
    30.0,
)  # seconds before the first retry, doubled each time up to the second
LONGEST_WAIT = 600.0  # seconds that a server may ask for
GRACE = 5.0  # seconds that a stopped run waits for replies under way
PASSING = {408, 409, 425, 429}  # and 5xx: worth another try
TEXTS = ("text", "output_text")  # parts of a message that are its text; others are thoughts
TEMPLATE = 256  # tokens that a server's template may put round a message, at most
UNSENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
)  # these took no tokens

Request = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What a server said; `cut`: it was still writing at `max_tokens`."""

    key: str  # of the request, by content
    text: str
    cut: bool
    usage: Usage | None  # None if the server does not say


class Unusable(Exception):
    """The server gave no reply: away, refusing, or not speaking the interface."""


class Passing(Exception):
    """No reply this time; `lost`: the server may have worked on one all the same."""

    def __init__(self, message: str, lost: bool):
        super().__init__(message)
        self.lost = lost


class Stopping(Exception):
    """Another request failed, so this one is not tried again."""


def request(settings: JudgeServer, text: str, sample: int = 0) -> Request:
    """What is sent; further samples differ by a seed of their own."""
    return {
        "model": settings.model,
        "temperature": settings.temperature,
        "seed": _seed(settings.seed, sample),
        "max_tokens": settings.max_tokens,
        "messages": [{"role": "user", "content": text}],
    }


def ask(
    settings: JudgeServer,
    groups: Sequence[Sequence[Request]],
    cache: Path,
    what: str,
    progress: Progress = in_silence,
) -> list[list[Reply]]:
    """The reply to each request, in the order of the groups; `what` a group is, in the plural.

    Raises `UserError` if the server fails, or the budget could be exceeded; `cache` keeps what was
    answered, also by requests that were under way.
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
            kept |= _kept(cache, requests.keys() - kept.keys())  # by a run that was asking
            counted = (_counted(kept[key], _most(requests[key])) for key in kept)
            purse = Purse(settings.budget, settings.price, sum(counted, budget.NOTHING))
            rest = {key: each for key, each in requests.items() if key not in kept}
            failed = _ask(settings, rest, kept, purse, cache, _Groups(keys, kept, progress))
            if failed is not None:
                done = sum(all(key in kept for key in names) for names in keys)
                raise UserError(_line_about(settings, failed, done, len(keys), what, cache))
    return [[kept[key] for key in names] for names in keys]


class _Groups:
    """Counts groups whose requests are all answered."""

    def __init__(self, keys: list[list[str]], kept: Mapping[str, Reply], progress: Progress):
        self._left = [len({*names} - kept.keys()) for names in keys]
        self._of: dict[str, list[int]] = {}
        for number, names in enumerate(keys):
            for key in {*names} - kept.keys():
                self._of.setdefault(key, []).append(number)
        self._progress = progress
        self._done = self._left.count(0)

    def answered(self, key: str) -> None:
        """One more request is."""
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
    """Add the replies to what is kept. Returns the failure of the first request that has one."""
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    for key in requests:
        todo.put(key)
    answers: queue.SimpleQueue[tuple[str, Reply | Exception] | None] = queue.SimpleQueue()
    key_of_user = os.environ.get(settings.key_variable)
    headers = {"Authorization": f"Bearer {key_of_user}"} if key_of_user else {}
    with proxies.client(url(settings), timeout=settings.timeout, headers=headers) as client:
        asker = _Asker(settings, client, purse, cache)
        threads = [
            threading.Thread(target=asker.work, args=(requests, todo, answers), daemon=True)
            for _ in range(min(settings.concurrency, len(requests)))
        ]
        for thread in threads:
            thread.start()
        failures: dict[str, Exception] = {}
        working = len(threads)
        try:
            while working:
                answer = answers.get()
                if answer is None:
                    working -= 1
                elif isinstance(answer[1], Exception):
                    failures[answer[0]] = answer[1]
                else:
                    kept[answer[0]] = answer[1]
                    groups.answered(answer[0])
        except BaseException:  # a signal
            asker.stop.set()
            ends = time.monotonic() + GRACE
            for thread in threads:
                thread.join(max(0.0, ends - time.monotonic()))
            raise
    first = next((failures[key] for key in requests if key in failures), None)
    if first is not None and not isinstance(first, Unusable | Spent):
        raise first
    return first


class _Asker:
    """What the threads of a run share."""

    def __init__(self, settings: JudgeServer, client: httpx.Client, purse: Purse, cache: Path):
        self._settings, self._client, self._purse, self._cache = settings, client, purse, cache
        self.stop = threading.Event()
        self._resume = 0.0  # when the server wants to be asked again, by the monotonic clock

    def work(
        self,
        requests: Mapping[str, Request],
        todo: "queue.SimpleQueue[str]",
        answers: "queue.SimpleQueue[tuple[str, Reply | Exception] | None]",
    ) -> None:
        """Take requests until there are none, or one has failed; None says that it is over."""
        while not self.stop.is_set():
            try:
                key = todo.get_nowait()
            except queue.Empty:
                break
            try:
                answers.put((key, self._reply(key, requests[key])))
            except Stopping:
                break
            except Exception as error:  # raised by the thread that waits
                self.stop.set()
                answers.put((key, error))
        answers.put(None)

    def _reply(self, key: str, request: Request) -> Reply:
        """The server's reply, which is then kept, after retries of what may pass."""
        most = _most(request)
        trouble = ""
        for attempt in range(self._settings.retries + 1):
            self._pause(min(LONGEST_PAUSE, BACKOFF * 2 ** (attempt - 1)) if attempt else 0.0)
            self._purse.take(most)
            used = budget.NOTHING
            try:
                if self.stop.is_set():  # while others' replies were waited for
                    raise Stopping
                reply = self._attempt(key, request)
                used = _counted(reply, most)
                return reply
            except Passing as error:
                trouble = str(error)
                used = most if error.lost else budget.NOTHING
            finally:
                self._purse.settle(most, used)
        raise Unusable(f"{trouble}, {self._settings.retries + 1} times")

    def _pause(self, seconds: float) -> None:
        """Wait so long, and as long as the server has asked any thread to."""
        until = time.monotonic() + seconds
        while (left := max(until, self._resume) - time.monotonic()) > 0:
            if self.stop.wait(left):
                raise Stopping

    def _attempt(self, key: str, request: Request) -> Reply:
        try:
            response = self._client.post(url(self._settings), json=request)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise Unusable(f"not an address ({_line(str(error))})") from None
        except httpx.RequestError as error:
            trouble = f"away ({type(error).__name__}: {_line(str(error))})"
            raise Passing(trouble, lost=not isinstance(error, UNSENT)) from None
        if response.status_code != 200:
            self._refused(response)
        reply = _read(key, response)
        if reply is None:
            raise Passing(f"answers without choices[0].message ({_line(response.text)})", lost=True)
        kept = {
            "reply": reply.text,
            "cut": reply.cut,
            "usage": None if reply.usage is None else vars(reply.usage),
            "request": request,
        }
        record.write_json(self._cache / f"{key}.json", kept)
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
        raise Passing(trouble, lost=False)


def wanted(retry_after: str | None, now: datetime | None = None) -> float:
    """Seconds to wait by the header Retry-After, a number or a date; 0 for anything else."""
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        seconds = float(retry_after)  # type: ignore[arg-type]
        return max(0.0, seconds) if math.isfinite(seconds) else 0.0
    with contextlib.suppress(TypeError, ValueError):
        then = parsedate_to_datetime(retry_after)  # type: ignore[arg-type]
        return max(0.0, (then - (now or datetime.now(UTC))).total_seconds())
    return 0.0


def url(settings: JudgeServer) -> str:
    """Where completions are asked for."""
    return settings.base_url.rstrip("/") + "/chat/completions"


def usage(replies: Iterable[Reply], price: Price) -> dict[str, int | float]:
    """Tokens of the replies, of one to several equal requests once; how many came without a count;
    and what the tokens cost, where there is a price.
    """
    once = {reply.key: reply.usage for reply in replies}
    said = [each for each in once.values() if each is not None]
    total = sum(said, budget.NOTHING)
    cost = total.cost(price)
    return {
        "input": total.input,
        "output": total.output,
        "uncounted": len(once) - len(said),
        **({} if cost is None else {"cost": cost}),
    }


def _line_about(
    settings: JudgeServer, failed: Exception, done: int, total: int, what: str, cache: Path
) -> str:
    where, on = f"{url(settings)}{proxies.through(url(settings))}", ""
    if isinstance(failed, Spent):
        where, on = url(settings), f"raise judge.openai.budget.{failed.key} and "
    return (
        f"judge.openai: {where}: {failed}; {done} of {total} {what} are scored and kept in "
        f"{cache}, {on}the same command goes on from there"
    )


def _most(request: Request) -> Usage:
    """What a request can take: a token is a byte at least."""
    texts = (message["content"] for message in request["messages"])
    return Usage(sum(len(text.encode()) for text in texts) + TEMPLATE, request["max_tokens"])


def _counted(reply: Reply, most: Usage) -> Usage:
    """What a reply took, by the server; else what it can have taken."""
    return most if reply.usage is None else reply.usage


def _seed(seed: int, sample: int) -> int:
    """Samples of two seeds share none."""
    if sample == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed} {sample}".encode()).digest()[:4]) >> 1


def _key(settings: JudgeServer, request: Request) -> str:
    identity = json.dumps([url(settings), request], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()


def _kept(cache: Path, keys: Iterable[str]) -> dict[str, Reply]:
    files = {key: cache / f"{key}.json" for key in keys}
    return {key: _kept_reply(key, file) for key, file in files.items() if file.exists()}


def _kept_reply(key: str, file: Path) -> Reply:
    try:
        value = elsewhere.parsed(file.read_text(encoding="utf-8"))
        used = value["usage"]
        return Reply(key, value["reply"], value["cut"], None if used is None else Usage(**used))
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file}: damaged; remove it and the judge is asked again") from None


def _read(key: str, response: httpx.Response) -> Reply | None:
    """The first choice, whole or in parts; a message without text (a refusal) is an empty one."""
    try:
        body = elsewhere.parsed(response.content)
        choice = body["choices"][0]
        content = choice["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    if isinstance(content, list):
        content = "".join(map(_text, content))
    if not isinstance(content, str):
        content = ""
    text = content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # JSON's escapes
    return Reply(key, text, choice.get("finish_reason") == "length", _usage(body))


def _usage(body: Mapping[str, Any]) -> Usage | None:
    said = body.get("usage")
    if not isinstance(said, dict):
        return None
    counts = [said.get("prompt_tokens"), said.get("completion_tokens")]
    whole = all(type(count) is int and count >= 0 for count in counts)
    return Usage(*counts) if whole else None


def _text(part: Any) -> str:
    """What a part of a message adds to its text."""
    if isinstance(part, dict) and part.get("type", "text") in TEXTS:
        part = part.get("text")
    return part if isinstance(part, str) else ""


def _key_hint(settings: JudgeServer, status: int) -> str:
    return f", set {settings.key_variable} to a valid key" if status in (401, 403) else ""


def _line(text: str) -> str:
    return " ".join(text.split())[:160]
