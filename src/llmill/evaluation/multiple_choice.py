"""Multiple-choice questions: MMLU's letter format and the cloze format, as prompts and as picks.

Letter: the questions in MMLU's own layout (Hendrycks et al. 2021) with worked examples, and the
likelihood of each letter. Cloze: the question alone, and the likelihood of each answer's text per
byte, so that length does not decide.
"""

import difflib
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from llmill.contract.errors import UserError
from llmill.evaluation.scoring import Progress, continuation_logprobs, in_silence
from llmill.model.transformer import Transformer
from llmill.tasks import prompt
from llmill.tasks.multiple_choice import LETTERS, Question
from llmill.text.tokenizer import Tokenizer

HEADER = "The following are multiple choice questions (with answers) about {}.\n\n"


@dataclass(frozen=True)
class Picks:
    """The choice taken for each question, and what was left out of prompts for want of room."""

    picks: list[int]
    shots_dropped: int
    prompts_cut: int


def chance(questions: Sequence[Question]) -> float:
    """The share that one who guesses gets right."""
    return sum(1 / len(question.choices) for question in questions) / len(questions)


def of_subjects(questions: Sequence[Question], subjects: Sequence[str]) -> list[Question]:
    """Only these subjects (all, if none is named); `UserError` for one that is not there."""
    available = sorted({q.subject for q in questions})
    for name in subjects:
        if name not in available:
            near = difflib.get_close_matches(name, available, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(available)}"
            raise UserError(f"params.yaml: mmlu.subjects: no subject '{name}'; {hint}")
    return [q for q in questions if not subjects or q.subject in subjects]


def at_most(questions: Sequence[Question], per_subject: int | None) -> list[Question]:
    """The first `per_subject` of each subject by hash of the content, in the order given.

    Which they are depends on nothing else that is in the file.
    """
    if per_subject is None:
        return list(questions)
    by_subject: dict[str, list[int]] = defaultdict(list)
    for i, question in enumerate(questions):
        by_subject[question.subject].append(i)
    selected: set[int] = set()
    for numbers in by_subject.values():
        selected |= set(sorted(numbers, key=lambda i: _hash(questions[i]))[:per_subject])
    return [q for i, q in enumerate(questions) if i in selected]


def shots_by_subject(
    dev: Sequence[Question], subjects: Iterable[str], shots: int
) -> dict[str, list[Question]]:
    """The first `shots` worked examples of each subject; `UserError` where there are fewer."""
    by_subject: dict[str, list[Question]] = {subject: [] for subject in sorted(set(subjects))}
    for question in dev:
        if len(examples := by_subject.get(question.subject, [])) < shots:
            examples.append(question)
    for subject, examples in by_subject.items():
        if len(examples) < shots:
            raise UserError(
                f"params.yaml: mmlu.shots = {shots}: subject '{subject}' has only {len(examples)} "
                "questions in its dev split; lower mmlu.shots or leave the subject out"
            )
    return by_subject


def letter_prompt(question: Question, shots: Sequence[Question]) -> str:
    """MMLU's layout: a header, each example with its letter, the question, `Answer:`."""
    header = HEADER.format(question.subject.replace("_", " "))
    examples = "".join(f"{_block(shot)} {LETTERS[shot.answer]}\n\n" for shot in shots)
    return header + examples + _block(question)


def cloze_prompt(question: Question) -> str:
    """The question without its choices."""
    return prompt.question(question.question)


def letter_picks(
    model: Transformer,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    shots: dict[str, list[Question]],
    batch_size: int,
    progress: Progress = in_silence,
) -> Picks:
    """The likeliest letter. Too long a prompt loses its last examples one by one, then its left."""
    most = max((len(question.choices) for question in questions), default=0)
    letters = [tokenizer.encode(f" {letter}") for letter in LETTERS[:most]]
    room = model.config.block_size + 1 - max(map(len, letters), default=0)
    pairs, dropped, cut = [], 0, 0
    for question in questions:
        examples = shots[question.subject]
        for used in range(len(examples), -1, -1):
            context = _document(tokenizer, letter_prompt(question, examples[:used]))
            if len(context) <= room:
                break
        dropped += len(examples) - used
        cut += len(context) > room
        pairs += [(context, letter) for letter in letters[: len(question.choices)]]
    logprobs = continuation_logprobs(model, pairs, batch_size, progress)
    return Picks(_best(logprobs, questions), dropped, cut)


def cloze_picks(
    model: Transformer,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    batch_size: int,
    progress: Progress = in_silence,
    asked: Callable[[Question], list[int]] | None = None,
) -> Picks:
    """The likeliest answer text, per byte of it and the space before it. `asked` puts a question in
    another way, behind which an answer begins without a space.
    """
    pairs, sizes, cut = [], [], 0
    for question in questions:
        context = asked(question) if asked else cloze_context(tokenizer, question)
        texts = [choice if asked else f" {choice}" for choice in question.choices]
        ends = [tokenizer.encode(text) for text in texts]
        cut += len(context) + max(map(len, ends)) > model.config.block_size + 1
        pairs += [(context, end) for end in ends]
        sizes += [len(text.encode()) for text in texts]
    logprobs = continuation_logprobs(model, pairs, batch_size, progress)
    scores = [x / size for x, size in zip(logprobs, sizes, strict=True)]
    return Picks(_best(scores, questions), 0, cut)


def cloze_context(tokenizer: Tokenizer, question: Question) -> list[int]:
    """Its ids, as documents begin in training."""
    return _document(tokenizer, cloze_prompt(question))


def _document(tokenizer: Tokenizer, text: str) -> list[int]:
    """A text as documents begin in training: after the end of another."""
    return [tokenizer.end_of_text, *tokenizer.encode(text)]


def _block(question: Question) -> str:
    choices = (f"{a}. {text}" for a, text in zip(LETTERS, question.choices, strict=False))
    return "\n".join((question.question, *choices, "Answer:"))


def _best(scores: Sequence[float], questions: Sequence[Question]) -> list[int]:
    """The first of the best choices of each question, after rounding away the noise of sums."""
    rounded = (round(x, 5) for x in scores)
    of_each = [list(islice(rounded, len(question.choices))) for question in questions]
    return [of_one.index(max(of_one)) for of_one in of_each]


def _hash(question: Question) -> str:
    content = [question.subject, question.question, *question.choices, question.answer]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
