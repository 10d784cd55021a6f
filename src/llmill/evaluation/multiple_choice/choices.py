"""Score the choices of questions by log-likelihood, and pick the best one.

The log-likelihood of a choice is a sum over its tokens. The pick is by this sum, or by the sum per
token, byte or character, which corrects for length. lm-evaluation-harness calls the first `acc` and
the last `acc_norm`. For letters, all four give the same pick.
"""

from array import array  # lists would take ten times the memory for 10 million ids
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile
from typing import Any

import numpy as np

from llmill.contract.errors import UserError
from llmill.contract.progress import Progress, in_silence
from llmill.evaluation.inference.scoring import Ids, continuation_logprobs
from llmill.evaluation.multiple_choice.prompts import Shots, cloze_prompt, letter_prompt
from llmill.evaluation.multiple_choice.units import TooLong, Unit
from llmill.model.transformer import Transformer
from llmill.tasks.conversation import message
from llmill.tasks.multiple_choice import LETTERS, Question
from llmill.text import words
from llmill.text.tokenization.template import Template
from llmill.text.tokenization.tokenizer import Tokenizer

Request = tuple[Ids, Ids]  # (context, continuation to score)


@dataclass(frozen=True)
class Scores:
    """The log-likelihoods in nats of each question's choices, and their lengths by unit; and how
    many examples were dropped and prompts were cut because they did not fit.
    """

    logprobs: list[list[float]]
    sizes: dict[Unit, list[list[int]]]
    shots_dropped: int
    prompts_cut: int

    def picks(self, per: Unit = "sum") -> list[int]:
        """Return the best choice of each question; the first one in a tie.

        Scores are rounded first, because sums carry noise.
        """
        picks = []
        for logprobs, sizes in zip(self.logprobs, self.sizes[per], strict=True):
            scores = [round(x / size, 5) for x, size in zip(logprobs, sizes, strict=True)]
            picks.append(scores.index(max(scores)))
        return picks

    def logits(self) -> np.ndarray:
        """Return the log-likelihoods as logits, (N, most choices); -inf for a missing choice."""
        most = max(map(len, self.logprobs))
        return np.array([row + [-np.inf] * (most - len(row)) for row in self.logprobs])

    @classmethod
    def together(cls, parts: Sequence[tuple[Sequence[int], "Scores"]]) -> "Scores":
        """Join the scores of parts, given as (numbers of its questions, scores) each."""
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
    """How questions are asked: the worked examples, the rule for prompts that are too long, and
    whether the question is hidden (`blind`), so that only its choices are shown or scored.

    With "drop_shots", a prompt that is too long loses its last examples one by one, and is then cut
    on the left. With "keep_last", it is cut on the left at once, as in lm-evaluation-harness.
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
    """Score each letter after the question and its choices."""
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
    """Score the text of each choice after the question."""
    texts = [[f" {choice}" for choice in q.choices] for q in questions]
    return _scores(model, tokenizer, questions, texts, cloze_prompt, asking, batch_size, progress)


def template_scores(
    model: Transformer,
    template: Template,
    questions: Sequence[Question],
    batch_size: int,
    progress: Progress = in_silence,
) -> Scores:
    """Score each choice as the assistant's answer, with the space that the template may put before
    it and without the token that ends it.
    """
    requests = [_answers(template, question) for question in questions]
    texts = [[template.tokenizer.decode(ids) for _, ids in of_one] for of_one in requests]
    return _scored(model, requests, texts, 0, batch_size, progress)


def _answers(template: Template, question: Question) -> list[Request]:
    """Return (context, continuation) of each choice. The continuation begins at the first token
    that the prompt does not determine. Raise `UserError` if a template trains on no answer token.
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


def longest(questions: Sequence[Question]) -> list[list[int]]:
    """Pick the longest choice, or all that tie: a baseline that knows nothing."""
    return [_largest([len(choice) for choice in q.choices]) for q in questions]


def most_shared(questions: Sequence[Question]) -> list[list[int]]:
    """Pick the choice with the largest share of its words in the question, or all that tie: a
    baseline.
    """
    picks = []
    for q in questions:
        asked = set(words.split(q.question))
        each_words = [words.split(choice) for choice in q.choices]
        picks.append(
            _largest([sum(w in asked for w in each) / max(1, len(each)) for each in each_words])
        )
    return picks


def _largest(values: Sequence[float]) -> list[int]:
    return [i for i, value in enumerate(values) if value == max(values)]


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
            # In training, a document begins after the end of another one.
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
    """Score each question's texts. The space before a choice counts as a byte but not as a
    character, as in other programs.
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
