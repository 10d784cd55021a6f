"""A model of llmill's in lm-evaluation-harness (`lm_eval`), under the name `llmill`, and the
command `llmill harness`, which runs it on tasks.

Text becomes ids by lm_eval's own rules (`TemplateLM`); of a text that is too long, the last tokens
are kept. lm_eval is an extra, `pip install '.[harness]'`; stages do not import this module.
"""

import contextlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval import utils
from lm_eval.__main__ import cli_evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs
from tqdm import tqdm

from llmill.contract.errors import UserError
from llmill.contract.progress import Progress
from llmill.contract.weight_types import WeightType
from llmill.evaluation.inference.scoring import continuations
from llmill.model.generate import Choice, Writer
from llmill.models import LanguageModel, language_model
from llmill.text.tokenization.stream import TextStream

BATCH_SIZE = 64  # texts read in one pass, if lm_eval sets none, or auto
WRITTEN = 8  # texts written together, at most: each holds keys and values
LONGEST = 256  # tokens that are written if a task does not say how many, as in lm_eval
DRAWN_BY = ("top_k", "top_p", "min_p", "repetition_penalty")
READ = {"until", "max_gen_toks", "do_sample", "temperature", *DRAWN_BY}
NEUTRAL = {"num_beams": 1}  # unsupported options, with the value that changes nothing

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Wanted:
    """A text to be written: the ids before it, how many more at most, and where it stops."""

    prompt: list[int]
    most: int
    choice: Choice
    seed: int
    stop: tuple[str, ...]


def evaluate(model: str, dtype: WeightType, options: Sequence[str]) -> None:
    """Run lm_eval's command on the model with this name; the options are its own."""
    arguments = json.dumps({"model": model, "dtype": dtype})
    chosen = ["--model", "llmill", "--model_args", arguments, "--batch_size", "auto"]
    sys.argv = ["lm_eval", "run", *chosen, *options]  # of a repeated option, the last one counts
    cli_evaluate()


@register_model("llmill")
class Harness(TemplateLM):
    """A language model as lm_eval calls one.

    `model` is a name as in `chat`, or an open model. With `add_bos_token` a text begins after the
    token that documents begin after in training, as in lm_eval's own `hf`.
    """

    def __init__(
        self,
        model: str | LanguageModel,
        dtype: WeightType = "float32",
        batch_size: int | str = "auto",
        add_bos_token: bool = False,
        device: str | None = None,
        max_batch_size: int | None = None,
    ):
        """lm_eval passes the last two to every model; here models run on the CPU."""
        super().__init__()
        if isinstance(model, str):
            self._name, self._language = model, language_model(model, dtype)
        else:
            self._name, self._language = "llmill", model
        self._tokenizer = self._language.tokenizer
        self._batch_size = BATCH_SIZE if str(batch_size).startswith("auto") else int(batch_size)
        self._begins = add_bos_token
        names = sorted(self._tokenizer.special, key=len, reverse=True)
        self._special = re.compile(f"({'|'.join(map(re.escape, names))})")

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self._tokenizer.end_of_text

    @property
    def prefix_token_id(self) -> int:
        """The token that a text begins after."""
        return self._language.completed("")[0]

    @property
    def max_length(self) -> int:
        """Tokens that the model sees at once."""
        return self._language.model.config.block_size

    @property
    def max_gen_toks(self) -> int:
        """Tokens that are written if a task does not say how many."""
        return LONGEST

    @property
    def batch_size(self) -> int:
        """Texts that are read together; no score depends on it."""
        return self._batch_size

    @property
    def tokenizer_name(self) -> str:
        """A name for lm_eval's cache of requests."""
        return self._name.replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Return the model's own template, if one is to be used."""
        template = self._language.template
        return template.source if chat_template and template is not None else None

    def apply_chat_template(
        self, chat_history: Messages, add_generation_prompt: bool = True
    ) -> str:
        """Return messages as the model reads them before it answers or continues the last one."""
        template = self._language.template
        if template is None:
            raise UserError(
                f"{self._name}: not taught to answer messages; leave out --apply_chat_template"
            )
        if add_generation_prompt:
            return self._tokenizer.decode(template.prompt(chat_history))
        text, last = template.text(chat_history), chat_history[-1]["content"].strip()
        return text[: text.rindex(last) + len(last)]

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Return the ids of a text, in which the name of a special token is that token, because a
        chat template writes it that way.
        """
        ids: list[int] = []
        for number, part in enumerate(self._special.split(string)):
            special = number % 2 == 1
            ids += [self._tokenizer.special[part]] if special else self._tokenizer.encode(part)
        begins = self._begins if add_special_tokens is None else add_special_tokens
        if begins and ids[:1] != [self.prefix_token_id]:
            ids.insert(0, self.prefix_token_id)
        return ids

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[tuple[str, str] | None, list[int], list[int]]],
        disable_tqdm: bool = False,
        **kwargs: Any,
    ) -> list[tuple[float, bool]]:
        """Return how likely each continuation is, and whether it would be written."""
        pairs = [
            (context or [self.prefix_token_id], continuation)
            for _, context, continuation in requests
        ]
        with _bar("scored", disable_tqdm) as progress:
            found = continuations(self._language.model, pairs, self._batch_size, progress)
        answers = [(scored.logprob, scored.greedy) for scored in found]
        for (texts, _, _), answer in zip(requests, answers, strict=True):
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, answer)
        return answers

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Return how likely each whole text is. A text longer than the context is read in windows,
        with each token in one of them.
        """
        windows: list[tuple[None, list[int], list[int]]] = []
        counts = []
        for (text,) in (request.args for request in requests):
            ids = self.tok_encode(text, add_special_tokens=False)
            cut = utils.get_rolling_token_windows(ids, self.prefix_token_id, self.max_length, 1)
            own = [(None, *utils.make_disjoint_window(window)) for window in cut]
            windows += own
            counts.append(len(own))
        found = iter(self._loglikelihood_tokens(windows, disable_tqdm))
        sums = [sum(next(found)[0] for _ in range(count)) for count in counts]
        for request, value in zip(requests, sums, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, value)
        return sums

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return what the model writes to each context, up to a stop string, which is left out."""
        asked = [request.args for request in requests]
        wanted = [self._wanted(text, how, seed) for seed, (text, how) in enumerate(asked)]
        texts = [""] * len(wanted)
        with _bar("written", disable_tqdm) as progress:
            for done, (i, text) in enumerate(self._written(wanted), 1):
                texts[i] = text
                self.cache_hook.add_partial("generate_until", asked[i], text)
                progress(done, len(wanted))
        return texts

    def _wanted(self, context: str, settings: dict[str, Any], seed: int) -> Wanted:
        """Return what to write. Of a context that is too long, it has the last tokens that leave
        room for the answer, or half the window if the answer alone would fill it.
        """
        values = normalize_gen_kwargs(settings, self.max_gen_toks)
        for name, value in values.items():
            if name not in READ and value != NEUTRAL.get(name):
                raise UserError(f"the task sets {name} = {value!r}, which llmill does not support")
        given = {name: values[name] for name in DRAWN_BY if values.get(name) is not None}
        temperature = float(values.get("temperature", 1.0)) if values["do_sample"] else 0.0
        most = values["max_gen_toks"]
        room = self.max_length - most if most < self.max_length else self.max_length // 2
        prompt = self.tok_encode(context)[-room:] or [self.prefix_token_id]
        stop = tuple(text for text in values["until"] if text)
        return Wanted(prompt, most, Choice(temperature, **given), seed, stop)

    def _written(self, wanted: Sequence[Wanted]) -> Iterator[tuple[int, str]]:
        """Yield each text with its number, as they end; a waiting text takes the place of one that
        ended.
        """
        together = min(self._batch_size, WRITTEN)
        writer = Writer(self._language.model, expected=together)
        waiting = iter(enumerate(wanted))
        open_texts: dict[int, _Open] = {}
        while True:
            while len(open_texts) < together and (following := next(waiting, None)):
                i, each = following
                stream = TextStream(self._tokenizer.decode_bytes, each.stop)
                number = writer.begin(each.prompt, each.choice, each.seed)
                open_texts[number] = _Open(i, each, stream)
            if not open_texts:
                return
            for number, drawn in writer.step().items():
                text = open_texts[number]
                if text.ends_with(drawn.token, self._tokenizer.ends):
                    writer.end(number)
                    del open_texts[number]
                    yield text.number, text.whole()


class _Open:
    """A text that is being written."""

    def __init__(self, number: int, wanted: Wanted, stream: TextStream):
        self.number, self._wanted, self._stream = number, wanted, stream
        self._pieces: list[str] = []
        self._count = 0

    def ends_with(self, token: int, ends: frozenset[int]) -> bool:
        """Return whether nothing follows this token."""
        if token in ends:
            return True
        self._count += 1
        self._pieces.append(self._stream.push(token))
        return self._stream.stopped or self._count >= self._wanted.most

    def whole(self) -> str:
        return "".join([*self._pieces, self._stream.close()])


@contextlib.contextmanager
def _bar(what: str, silent: bool) -> Iterator[Progress]:
    """Show a line with how many are done."""
    with tqdm(desc=what, disable=silent) as line:

        def show(done: int, total: int) -> None:
            line.total = total
            line.update(done - line.n)

        yield show
