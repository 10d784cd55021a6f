"""How likely a model holds each choice of a question, and which it so picks.

The log-likelihood of a choice is a sum over its tokens. It decides as it is, or per token, byte or
character of the choice, so that length does not; lm-evaluation-harness calls the first and the last
`acc` and `acc_norm`. Of letters all four decide alike.
"""

from array import array  # a list of 10 million ids takes ten times the memory
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile
from typing import Any

import numpy as np

from llmill.contract.errors import UserError
from llmill.evaluation.inference.scoring import Ids, Progress, continuation_logprobs, in_silence
from llmill.evaluation.multiple_choice.prompts import Shots, cloze_prompt, letter_prompt
from llmill.evaluation.multiple_choice.units import TooLong, Unit
from llmill.model.transformer import Transformer
from llmill.tasks.conversation import message
from llmill.tasks.multiple_choice import LETTERS, Question
from llmill.text import words
from llmill.text.tokenization.template import Template
from llmill.text.tokenization.tokenizer import Tokenizer

Request = tuple[Ids, Ids]  # what is read, and what is scored behind it


@dataclass(frozen=True)
class Scores:
    """What a model makes of the choices of each question: log-likelihoods in nats, and the lengths
    of what was scored; and what was left out of prompts for want of room.
    """

    logprobs: list[list[float]]
    sizes: dict[Unit, list[list[int]]]
    shots_dropped: int
    prompts_cut: int

    def picks(self, per: Unit = "sum") -> list[int]:
        """The first of the best choices of each question, after rounding away the noise of sums."""
        picks = []
        for logprobs, sizes in zip(self.logprobs, self.sizes[per], strict=True):
            scores = [round(x / size, 5) for x, size in zip(logprobs, sizes, strict=True)]
            picks.append(scores.index(max(scores)))
        return picks

    def logits(self) -> np.ndarray:
        """The log-likelihoods as a classifier's logits, (N, most choices); none is -inf."""
        most = max(map(len, self.logprobs))
        return np.array([row + [-np.inf] * (most - len(row)) for row in self.logprobs])

    @classmethod
    def together(cls, parts: Sequence[tuple[Sequence[int], "Scores"]]) -> "Scores":
        """The scores of parts as those of all questions; beside each part the numbers of its."""
        order = np.argsort([i for numbers, _ in parts for i in numbers]).tolist()

        def put(lists: Iterable[list[Any]]) -> list[Any]:
            rows = list(chain.from_iterable(lists))
            return [rows[i] for i in order]

        every = [scores for _, scores in parts]
        return cls(
            put(each.logprobs for each in every),
            {unit: put(each.sizes[unit] for each in every) for unit in every[0].sizes},
            sum(each.shots_dropped for each in every),
            sum(each.prompts_cut for each in every),
        )


@dataclass(frozen=True)
class Asking:
    """How questions are put: after which examples, by which rule where a prompt is too long, and
    whether blind, so that the choices are shown or scored without their question.

    Too long a prompt loses its last examples one by one, then its left; or at once its left, as in
    lm-evaluation-harness.
    """

    shots: Shots
    too_long: TooLong = "drop_shots"
    blind: bool = False


def letter_scores(
    model: Transformer,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    asking: Asking,
    batch_size: int,
    progress: Progress = in_silence,
) -> Scores:
    """How likely each letter is behind the question and its choices."""
    letters = [[f" {letter}" for letter in LETTERS[: len(q.choices)]] for q in questions]
    return _scores(
        model, tokenizer, questions, letters, letter_prompt, asking, batch_size, progress
    )


def cloze_scores(
    model: Transformer,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    asking: Asking,
    batch_size: int,
    progress: Progress = in_silence,
) -> Scores:
    """How likely the text of each answer is behind the question."""
    texts = [[f" {choice}" for choice in q.choices] for q in questions]
    return _scores(model, tokenizer, questions, texts, cloze_prompt, asking, batch_size, progress)


def template_scores(
    model: Transformer,
    template: Template,
    questions: Sequence[Question],
    batch_size: int,
    progress: Progress = in_silence,
) -> Scores:
    """How likely each choice is as the assistant's answer, with the space that the template may put
    before it and without the token that ends it.
    """
    requests = [_answers(template, question) for question in questions]
    texts = [[template.tokenizer.decode(ids) for _, ids in of_one] for of_one in requests]
    return _scored(model, requests, texts, 0, batch_size, progress)


def _answers(template: Template, question: Question) -> list[Request]:
    """What is read before each choice, and the choice as it is learnt, from the first token on that
    the prompt does not settle. Raises `UserError` where a template learns nothing of an answer.
    """
    asked, special = message("user", question.question), template.tokenizer.special.values()
    read = [template.prompt([asked])]
    for choice in question.choices:
        ids, learnt = template.learnt([asked, message("assistant", choice)])
        of_answer = [n for n, i in enumerate(ids) if learnt[n] and i not in special]
        read.append(ids[: of_answer[-1] + 1] if of_answer else [])
    alike = takewhile(lambda tokens: len({*tokens}) == 1, zip(*read, strict=False))
    first = sum(1 for _ in alike)
    if not all(len(ids) > first for ids in read[1:]):
        raise UserError(f"{template.where}: nothing of an answer is learnt, so none can be scored")
    return [(ids[:first], ids[first:]) for ids in read[1:]]


def longest(questions: Sequence[Question]) -> list[int]:
    """Who knows nothing and takes the longest choice."""
    return [int(np.argmax([len(choice) for choice in q.choices])) for q in questions]


def most_shared(questions: Sequence[Question]) -> list[int]:
    """Who knows nothing and takes the choice with most of its words in the question."""
    picks = []
    for q in questions:
        asked = set(words.split(q.question))
        each_words = [words.split(choice) for choice in q.choices]
        shares = [sum(w in asked for w in each) / max(1, len(each)) for each in each_words]
        picks.append(int(np.argmax(shares)))
    return picks


def _scores(
    model: Transformer,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    texts: Sequence[Sequence[str]],
    prompt: Callable[[Question, Sequence[Question], bool], str],
    asking: Asking,
    batch_size: int,
    progress: Progress,
) -> Scores:
    requests: list[list[Request]] = []
    dropped = 0
    for question, ends in zip(questions, texts, strict=True):
        examples = asking.shots.get(question.subject, [])
        room = model.config.block_size + 1 - max(len(tokenizer.encode(end)) for end in ends)
        fewest = 0 if asking.too_long == "drop_shots" else len(examples)
        for used in range(len(examples), fewest - 1, -1):
            text = prompt(question, examples[:used], asking.blind)
            # As documents begin in training: after the end of another.
            context = array("I", [tokenizer.end_of_text, *tokenizer.encode(text)])
            if len(context) <= room:
                break
        dropped += len(examples) - used
        requests.append([(context, tokenizer.encode(end)) for end in ends])
    return _scored(model, requests, texts, dropped, batch_size, progress)


def _scored(
    model: Transformer,
    requests: Sequence[Sequence[Request]],
    texts: Sequence[Sequence[str]],
    dropped: int,
    batch_size: int,
    progress: Progress,
) -> Scores:
    """The scores of each question's texts. Bytes count the space before a choice, characters do
    not, as in other programs.
    """
    room = model.config.block_size + 1
    cut = sum(any(len(a) + len(b) > room for a, b in of_one) for of_one in requests)
    pairs = list(chain.from_iterable(requests))
    flat = iter(continuation_logprobs(model, pairs, batch_size, progress))
    logprobs = [[next(flat) for _ in of_one] for of_one in requests]
    sizes: dict[Unit, list[list[int]]] = {
        "sum": [[1 for _ in of_one] for of_one in requests],
        "token": [[max(1, len(end)) for _, end in of_one] for of_one in requests],
        "byte": [[max(1, len(text.encode())) for text in of_one] for of_one in texts],
        "character": [[max(1, len(text.strip())) for text in of_one] for of_one in texts],
    }
    return Scores(logprobs, sizes, dropped, cut)
