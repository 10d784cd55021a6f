"""Chat templates in Jinja: how messages are put to a model, and which of the tokens are learnt.

Input: messages (`role`, `content`) and a tokenizer. Output: the ids that transformers'
`apply_chat_template` gives for the same template. A special token in the template's own text is
that token. In a message it is text: its name is marked before rendering, by characters that a text
cannot hold, and is skipped when special tokens are looked for.
"""

import itertools
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import meta

from llmill.contract import elsewhere
from llmill.contract.errors import UserError
from llmill.contract.model_folder import CHAT_TEMPLATE, CONFIG, TOKENIZER_CONFIG
from llmill.text.halves import without_halves
from llmill.text.tokenization import jinja
from llmill.text.tokenization.jinja import Clock
from llmill.text.tokenization.tokenizer import END_OF_TEXT, Tokenizer

TOKENS = "special_tokens_map.json"
# Lone surrogates, which a text in UTF-8 cannot contain. The first two enclose the name of a special
# token in a message, the other two enclose what is learnt.
SAID, SAID_END, OPEN, CLOSE = "\ud800", "\ud801", "\ud802", "\ud803"
MARKS = f"[{SAID}{SAID_END}{OPEN}{CLOSE}]"
GENERATION = re.compile(r"{%-?\s*generation\s*-?%}")
FEW = 16  # answers
# Variables of a template that a model's folder gives values.
NAMED = ("bos_token", "eos_token", "pad_token", "unk_token")

EXCHANGE = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]

Messages = Sequence[Mapping[str, str]]
Span = tuple[int, int]  # of characters: the first, and the one after the last


@dataclass(frozen=True)
class Rendered:
    """A text with its special tokens, and the places of marks in it."""

    text: str
    special: list[tuple[int, str]]
    opens: list[int]
    closes: list[int]


class Template:
    """A template with the tokenizer of its model. Raises `UserError` for one that is not Jinja."""

    def __init__(
        self,
        source: str,
        tokenizer: Tokenizer,
        where: str = "the chat template",
        clock: Clock = datetime.now,
    ):
        """`where` names the template in errors; `clock` gives the time that the template sees."""
        self.source, self.tokenizer, self.where = source, tokenizer, where
        self._compiled = _compiled(source, where, clock)
        names = sorted(tokenizer.special, key=len, reverse=True)
        either = "|".join(map(re.escape, names))
        self._names = re.compile(either)
        self._parts = re.compile(
            f"{SAID}(?P<said>{either}){SAID_END}|(?P<special>{either})|{MARKS}"
        )

    def text(self, messages: Messages) -> str:
        """Return the text of a whole conversation."""
        return self._rendered(messages).text

    def prompt(self, messages: Messages, most: int | None = None) -> list[int]:
        """Return the ids that are read before an answer to these messages. If there are more than
        `most`, not all are returned.
        """
        return self._ids(self._rendered(messages, prompt=True), most=most)[0]

    def learnt(self, messages: Messages) -> tuple[list[int], list[bool]]:
        """Return the ids of a whole conversation, and whether each is learnt: the answers of the
        assistant, each with the special token that ends it.

        A token that begins before an answer is not learnt. Raises `UserError` if the template
        changes an answer so that its place cannot be found.
        """
        rendered = self._rendered(messages)
        if GENERATION.search(self.source):
            spans = list(zip(rendered.opens, rendered.closes, strict=False))
        else:
            spans = self._answers(messages, rendered.text)
        return self._ids(rendered, [self._with_end(span, rendered) for span in spans])

    def end(self) -> int | None:
        """Return the special token that an answer ends with, if it ends with one."""
        ids, learnt = self.learnt(EXCHANGE)
        last = [token for token, is_learnt in zip(ids, learnt, strict=True) if is_learnt][-1:]
        return last[0] if last and last[0] in self.tokenizer.special.values() else None

    def _rendered(
        self, messages: Messages, prompt: bool = False, mark: Callable[[str], str] | None = None
    ) -> Rendered:
        """Render messages, with `mark` applied to the answers among them."""
        said = []
        for message in messages:
            each = {k: v if k == "role" else self._marked(v) for k, v in message.items()}
            if mark is not None and message["role"] == "assistant":
                each["content"] = mark(each["content"])
            said.append(each)
        return self._read(self._render(said, prompt))

    def _marked(self, value: str) -> str:
        """Mark the names of special tokens in a text of a message."""
        return self._names.sub(f"{SAID}\\g<0>{SAID_END}", without_halves(value))

    def _render(self, messages: Messages, prompt: bool) -> str:
        end = self.tokenizer.end_name
        try:
            return self._compiled.render(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=prompt,
                bos_token=end,
                eos_token=end,
                pad_token=end,
            )
        except Exception as error:  # a template is foreign code, which may raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{self.where} cannot take these messages: {reason}") from None

    def _read(self, marked: str) -> Rendered:
        """Remove the marks from a rendered text, and return their places."""
        parts: list[str] = []
        special: list[tuple[int, str]] = []
        places: dict[str, list[int]] = {OPEN: [], CLOSE: [], SAID: [], SAID_END: []}
        size = at = 0
        for match in self._parts.finditer(marked):
            parts.append(marked[at : match.start()])
            size += match.start() - at
            at = match.end()
            if (mark := match[0]) in places:
                places[mark].append(size)
                continue
            if match["special"]:
                special.append((size, match["special"]))
            parts.append(match["said"] or match["special"])
            size += len(parts[-1])
        return Rendered("".join([*parts, marked[at:]]), special, places[OPEN], places[CLOSE])

    def _answers(self, messages: Messages, text: str) -> list[Span]:
        """Return where each answer is in the text.

        An answer begins where its prompt ends or, if the text does not begin with that prompt,
        where its content begins. Rendering all prompts of a long conversation would take quadratic
        time. Therefore an answer between the first and the last `FEW` begins as far before its
        content as the first answer.
        """
        marked = self._answers_marked(messages, text)
        numbers = [n for n, message in enumerate(messages) if message["role"] == "assistant"]
        spans: list[Span] = []
        before = ""  # text between the first answer's prompt and its content
        for place, number in enumerate(numbers):
            opened, end = marked.opens[place], marked.closes[place]
            if FEW <= place < len(numbers) - FEW and text.endswith(before, 0, opened):
                start = opened - len(before)
            else:
                prompt = self._rendered(messages[:number], prompt=True).text
                start = len(prompt) if text.startswith(prompt) and len(prompt) <= end else opened
            if place == 0:
                before = text[start:opened]
            spans.append((start, end))
        return spans

    def _answers_marked(self, messages: Messages, text: str) -> Rendered:
        """Render the same text with marks around each answer. White space around an answer is left
        outside if the template strips it.
        """
        n_answers = sum(message["role"] == "assistant" for message in messages)
        for mark in (_around, _around_stripped):
            rendered = self._rendered(messages, mark=mark)
            if rendered.text == text and len(rendered.opens) == len(rendered.closes) == n_answers:
                return rendered
        raise UserError(
            f"{self.where} changes what the assistant said, so it cannot be told what is to be "
            "learnt; put it between {% generation %} and {% endgeneration %}"
        )

    def _with_end(self, span: Span, rendered: Rendered) -> Span:
        """Extend a span by the special token that follows it, if only white space is between them
        and the span does not end with one yet.
        """
        start, end = span
        after = bisect_left(rendered.special, (end, ""))
        before, name = rendered.special[after - 1] if after else (0, "")
        if before + len(name) == end or after == len(rendered.special):
            return span
        place, name = rendered.special[after]
        return span if rendered.text[end:place].strip() else (start, place + len(name))

    def _ids(
        self, rendered: Rendered, spans: Sequence[Span] = (), most: int | None = None
    ) -> tuple[list[int], list[bool]]:
        """Return ids, and whether each begins in one of the spans, which are in order. Stops soon
        after `most` ids.
        """
        starts = [start for start, _ in spans]
        ids: list[int] = []
        inside: list[bool] = []
        at = 0
        for place, name in [*rendered.special, (len(rendered.text), "")]:
            near = spans[max(0, bisect_right(starts, at) - 1) : bisect_right(starts, place)]
            part = rendered.text[at:place]
            new = self.tokenizer.encode(part) if part else []
            ids += new
            inside += self._within(part, new, [(a - at, b - at) for a, b in near])
            if name:
                ids.append(self.tokenizer.special[name])
                inside.append(any(a <= place < b for a, b in near))
            at = place + len(name)
            if most is not None and len(ids) > most:
                break
        return ids, inside

    def _within(self, text: str, ids: Sequence[int], spans: Sequence[Span]) -> list[bool]:
        """Return whether each token of a text begins in one of the spans."""
        places = [min(max(place, 0), len(text)) for span in spans for place in span]
        parts = (text[a:b].encode() for a, b in itertools.pairwise([0, *places]))
        sizes = (len(part.translate(None, self.tokenizer.absent)) for part in parts)
        bounds = list(itertools.accumulate(sizes))  # in bytes: a span begins, ends, begins ...
        lengths = (len(self.tokenizer.decode_bytes([token])) for token in ids)
        starts = itertools.accumulate(lengths, initial=0)
        pairs = zip(starts, ids, strict=False)
        return [bisect_right(bounds, start) % 2 == 1 for start, _ in pairs]


def _around(text: str) -> str:
    return f"{OPEN}{text}{CLOSE}"


def _around_stripped(text: str) -> str:
    core = text.strip()
    return text.replace(core, _around(core), 1) if core else _around(text)


def of_folder(folder: Path) -> str | None:
    """Return the chat template of a Hugging Face model's folder, from its own file or from the
    tokenizer's settings. The template then names its first and last token itself.
    """
    own, file = folder / CHAT_TEMPLATE, folder / TOKENIZER_CONFIG
    settings = _object(file)
    source = elsewhere.read_text(own) if own.exists() else settings.get("chat_template")
    if isinstance(source, list):
        named = {
            each.get("name"): each.get("template") for each in source if isinstance(each, dict)
        }
        source = named.get("default")
    if source is None:
        return None
    if not isinstance(source, str):
        raise UserError(f"{file}: chat_template is {type(source).__name__}, expected text")
    said = _object(folder / TOKENS) | settings
    if not said:
        return source
    kind = settings.get("tokenizer_class") or _object(folder / CONFIG).get("model_type")
    # GPT-2's own class uses these if nothing is said.
    usual = END_OF_TEXT if str(kind).lower().startswith("gpt2") else None
    defaults = dict.fromkeys(("bos_token", "eos_token", "unk_token"), usual)
    return with_names(source, {n: _token(said.get(n, defaults.get(n))) for n in NAMED})


def _object(file: Path) -> dict[str, Any]:
    return elsewhere.read_object(file) if file.exists() else {}


def with_names(source: str, names: Mapping[str, str]) -> str:
    """Return a template that itself defines those of these variables that it reads. A text that is
    not Jinja is returned as it is, to be refused where it is used.
    """
    try:
        compiled = _compiled(source, "", datetime.now)
    except UserError:
        return source
    read = meta.find_undeclared_variables(compiled.environment.parse(source))
    lines = [
        f"{{% set {name} = {json.dumps(token, ensure_ascii=False)} %}}\n"
        for name, token in names.items()
        if name in read
    ]
    return "".join([*lines, source])


def _token(value: Any) -> str:
    """Return a token from a tokenizer's settings, which give its text or an object with it."""
    name = value.get("content") if isinstance(value, dict) else value
    return name if isinstance(name, str) else ""


def _compiled(source: str, where: str, clock: Clock) -> jinja2.Template:
    try:
        return jinja.environment(OPEN, CLOSE, clock).from_string(without_halves(source))
    except jinja2.TemplateSyntaxError as error:
        raise UserError(f"{where}, line {error.lineno}: {error.message}") from None
    except RecursionError:
        raise UserError(f"{where}: nested too deep") from None
