"""A judge behind the OpenAI interface: asked for one integer, every reply kept on disk by content.

In: rows with instruction, input, output (the reference) and answer. Out: a score from 0 to 100 for
each, or None for a reply that is not one. A second run asks nothing.

A reply is a score if it is one integer from 0 to 100 and nothing beside it but what says the same:
`Score:`, `/100`, `.0`, marks of Markdown and quotes around it, a thought that ended before it
(`</think>`), or an object of JSON whose only `score` it is. Nothing is looked for in sentences.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from llmill.contract import elsewhere, proxies, record
from llmill.contract.errors import UserError
from llmill.evaluation.scoring import Progress, in_silence
from llmill.evaluation.settings import JudgeServer

BACKOFF, LONGEST_PAUSE = (
    1.0,
    30.0,
)  # seconds before the first retry, doubled each time up to the second
PASSING = {408, 409, 425, 429}  # and 5xx: worth another try
MARKS = r"[\s*_`\"'#]*+"  # possessive: a reply of marks alone is read through once
SCORE = re.compile(
    rf"{MARKS}(?:score{MARKS}[:=]{MARKS})?(100|[1-9]?[0-9])(?:\.0+)?(?:{MARKS}/{MARKS}100)?"
    rf"{MARKS}\.?{MARKS}",
    re.IGNORECASE,
)
KEY = re.compile(r'"score"\s*+:', re.IGNORECASE)
THOUGHT_ENDS = "</think>"
TEXTS = ("text", "output_text")  # parts of a message that are its text; others are thoughts
QUESTION = """\
Grade an answer to an instruction against a correct reference answer.

Instruction:
{instruction}

Input:
{input}

Reference answer:
{output}

Answer to grade:
{answer}

100 means as correct and complete as the reference, 0 means useless, wrong or empty. \
Wording may differ from the reference. Reply with one integer from 0 to 100 and nothing else."""

Row = Mapping[str, Any]


class Unusable(Exception):
    """The server gave nothing to score by: away, refusing, or not speaking the interface."""


def score(
    settings: JudgeServer, rows: Sequence[Row], cache: Path, progress: Progress = in_silence
) -> list[int | None]:
    """One score for each row. `UserError` if the server fails; `cache` keeps what was answered."""
    cache.mkdir(parents=True, exist_ok=True)
    scores: list[int | None] = []
    key = os.environ.get(settings.key_variable)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = _url(settings)
    with proxies.client(url, timeout=settings.timeout, headers=headers) as client:
        for row in rows:
            try:
                scores.append(parse(_reply(client, settings, row, cache)))
                progress(len(scores), len(rows))
            except Unusable as error:
                raise UserError(
                    f"judge.openai: {url}{proxies.through(url)}: {error}; {len(scores)} of "
                    f"{len(rows)} answers are scored and kept in {cache}, the same command goes on "
                    "from there"
                ) from None
    return scores


def parse(reply: str) -> int | None:
    """The integer that is all a reply says (`87`, `**87**`, `{"score": 87}`), else None."""
    text = reply.rpartition(THOUGHT_ENDS)[2].strip()
    if text.strip("` \n").removeprefix("json").lstrip().startswith("{"):
        text = _only_score(text)
    match = SCORE.fullmatch(text)
    return int(match[1]) if match else None


def _only_score(text: str) -> str:
    """The value of `score` in an object, as text; empty if there is none, or more than one."""
    try:
        fields = elsewhere.parsed(text.strip("` \n").removeprefix("json"))
    except ValueError:
        return ""
    values = [value for name, value in fields.items() if name.lower() == "score"]
    plain = len(values) == len(KEY.findall(text)) == 1 and not isinstance(values[0], bool)
    return str(values[0]) if plain and isinstance(values[0], int | float | str) else ""


def body(settings: JudgeServer, row: Row) -> dict[str, Any]:
    """The request for one row."""
    texts = {name: row[name] or "(none)" for name in ("instruction", "input", "output", "answer")}
    return {
        "model": settings.model,
        "temperature": 0,
        "seed": settings.seed,
        "messages": [{"role": "user", "content": QUESTION.format(**texts)}],
    }


def _reply(client: httpx.Client, settings: JudgeServer, row: Row, cache: Path) -> str:
    """The kept reply to this request, or the server's, which is then kept."""
    request = body(settings, row)
    identity = json.dumps([_url(settings), request], sort_keys=True)
    file = cache / f"{hashlib.sha256(identity.encode()).hexdigest()}.json"
    if file.exists():
        return _kept_reply(file)
    reply = _ask(client, settings, request)
    record.write_json(file, {"reply": reply, "request": request})
    return reply


def _kept_reply(file: Path) -> str:
    try:
        return elsewhere.parsed(file.read_text(encoding="utf-8"))["reply"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file}: damaged; remove it and the judge is asked again") from None


def _ask(client: httpx.Client, settings: JudgeServer, request: dict[str, Any]) -> str:
    """The text of the server's reply, after retries of what may pass."""
    for attempt in range(settings.retries + 1):
        if attempt:
            time.sleep(min(LONGEST_PAUSE, BACKOFF * 2 ** (attempt - 1)))
        try:
            response = client.post(_url(settings), json=request)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise Unusable(f"not an address ({_line(str(error))})") from None
        except httpx.RequestError as error:
            trouble = f"away ({type(error).__name__}: {_line(str(error))})"
            continue
        if response.status_code != 200:
            trouble = f"answers {response.status_code} ({_line(response.text)})"
            if response.status_code >= 500 or response.status_code in PASSING:
                continue
            raise Unusable(f"{trouble}{_key_hint(settings, response.status_code)}")
        reply = _content(response)
        if reply is not None:
            return reply
        trouble = f"answers without choices[0].message ({_line(response.text)})"
    raise Unusable(f"{trouble}, {settings.retries + 1} times")


def _content(response: httpx.Response) -> str | None:
    """The text of the first choice, whole or in parts; a message without text (a refusal) is an
    empty one.
    """
    try:
        message = elsewhere.parsed(response.content)["choices"][0]["message"]
        content = message["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    if isinstance(content, list):
        content = "".join(map(_text, content))
    if not isinstance(content, str):
        return ""
    return content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # JSON's escapes


def _text(part: Any) -> str:
    """What a part of a message adds to its text."""
    if isinstance(part, dict) and part.get("type", "text") in TEXTS:
        part = part.get("text")
    return part if isinstance(part, str) else ""


def _url(settings: JudgeServer) -> str:
    return settings.base_url.rstrip("/") + "/chat/completions"


def _key_hint(settings: JudgeServer, status: int) -> str:
    return f", set {settings.key_variable} to a valid key" if status in (401, 403) else ""


def _line(text: str) -> str:
    return " ".join(text.split())[:160]
