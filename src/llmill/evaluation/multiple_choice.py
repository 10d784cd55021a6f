"""Multiple-choice questions: MMLU's letter format and the cloze format, as prompts and as picks.

Letter: the questions in MMLU's own layout (Hendrycks et al. 2021) with worked examples, and the likelihood of each
letter. Cloze: the question alone, and the likelihood of each answer's text per byte, so that length does not decide.
"""

import difflib
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from llmill.contract.errors import UserError
from llmill.evaluation.scoring import continuation_logprobs
from llmill.text.tokenizer import Tokenizer

LETTERS = "ABCD"
HEADER = "The following are multiple choice questions (with answers) about {}.\n\n"
CHANCE = 1 / len(LETTERS)


@dataclass(frozen=True)
class Question:
    """One question with four choices; `answer` is the number of the right one."""

    subject: str
    question: str
    choices: tuple[str, str, str, str]
    answer: int


@dataclass(frozen=True)
class Picks:
    """The choice taken for each question, and what had to be left out of the prompts for want of room."""

    picks: list[int]
    shots_dropped: int
    prompts_cut: int


def read(path: Path) -> list[Question]:
    """Questions from a file of JSON lines; raises `UserError` naming file and line."""
    if not path.exists():
        raise UserError(f"{path}: missing; `dvc pull`, or `dvc repro prepare`")
    lines = path.read_text(encoding="utf-8").split("\n")
    return [_question(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line]


def of_subjects(questions: Sequence[Question], wanted: Sequence[str]) -> list[Question]:
    """Only the wanted subjects (all, if none is named); raises `UserError` for one that is not there."""
    known = sorted({q.subject for q in questions})
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known)}"
            raise UserError(f"params.yaml: mmlu.subjects: no subject '{name}'; {hint}")
    return [q for q in questions if not wanted or q.subject in wanted]


def at_most(questions: Sequence[Question], per_subject: int | None) -> list[Question]:
    """The first `per_subject` of each subject by hash of the content, in the order given.

    Which they are depends on nothing else that is in the file.
    """
    if per_subject is None:
        return list(questions)
    kept: set[int] = set()
    for subject in {q.subject for q in questions}:
        numbers = [i for i, q in enumerate(questions) if q.subject == subject]
        kept |= set(sorted(numbers, key=lambda i: _hash(questions[i]))[:per_subject])
    return [q for i, q in enumerate(questions) if i in kept]


def shots_by_subject(
    dev: Sequence[Question], subjects: Iterable[str], shots: int
) -> dict[str, list[Question]]:
    """The first `shots` worked examples of each subject; raises `UserError` where there are fewer."""
    found = {s: [q for q in dev if q.subject == s][:shots] for s in sorted(set(subjects))}
    for subject, examples in found.items():
        if len(examples) < shots:
            raise UserError(
                f"params.yaml: mmlu.shots = {shots}: subject '{subject}' has only {len(examples)} "
                "questions in its dev split; lower mmlu.shots or leave the subject out"
            )
    return found


def letter_prompt(question: Question, shots: Sequence[Question]) -> str:
    """MMLU's layout: a header, each example with its letter, the question, `Answer:`."""
    header = HEADER.format(question.subject.replace("_", " "))
    examples = "".join(f"{_block(shot)} {LETTERS[shot.answer]}\n\n" for shot in shots)
    return header + examples + _block(question)


def cloze_prompt(question: Question) -> str:
    """The question without its choices."""
    return f"Question: {question.question}\nAnswer:"


def letter_picks(
    model: nn.Module,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    shots: dict[str, list[Question]],
    batch_size: int,
) -> Picks:
    """The likeliest letter. A prompt too long for the window loses examples from the last on, then its left."""
    letters = [tokenizer.encode(f" {letter}") for letter in LETTERS]
    room = model.config.block_size + 1 - max(map(len, letters))
    pairs, dropped, cut = [], 0, 0
    for question in questions:
        examples = shots[question.subject]
        for used in range(len(examples), -1, -1):
            context = _document(tokenizer, letter_prompt(question, examples[:used]))
            if len(context) <= room:
                break
        dropped += len(examples) - used
        cut += len(context) > room
        pairs += [(context, letter) for letter in letters]
    return Picks(_best(continuation_logprobs(model, pairs, batch_size)), dropped, cut)


def cloze_picks(
    model: nn.Module, tokenizer: Tokenizer, questions: Sequence[Question], batch_size: int
) -> Picks:
    """The likeliest answer text, per byte of it."""
    pairs, sizes, cut = [], [], 0
    for question in questions:
        context = _document(tokenizer, cloze_prompt(question))
        ends = [tokenizer.encode(f" {choice}") for choice in question.choices]
        cut += len(context) + max(map(len, ends)) > model.config.block_size + 1
        pairs += [(context, end) for end in ends]
        sizes += [max(1, len(choice.encode())) for choice in question.choices]
    logprobs = continuation_logprobs(model, pairs, batch_size)
    return Picks(_best([x / size for x, size in zip(logprobs, sizes, strict=True)]), 0, cut)


def _document(tokenizer: Tokenizer, text: str) -> list[int]:
    """A text as documents begin in training: after the end of another."""
    return [tokenizer.end_of_text, *tokenizer.encode(text)]


def _block(question: Question) -> str:
    choices = (f"{a}. {text}" for a, text in zip(LETTERS, question.choices, strict=True))
    return "\n".join((question.question, *choices, "Answer:"))


def _best(scores: Sequence[float]) -> list[int]:
    """The first of the best of each four; rounded, so that float sums in another order decide nothing."""
    fours = ([round(x, 5) for x in scores[i : i + 4]] for i in range(0, len(scores), 4))
    return [four.index(max(four)) for four in fours]


def _question(line: str, where: str) -> Question:
    try:
        value: dict[str, Any] = json.loads(line)
        subject, text, choices = value["subject"], value["question"], tuple(value["choices"])
        answer = value["answer"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{where}: not a question ({error!r}); `dvc repro prepare`") from None
    if len(choices) != len(LETTERS) or answer not in range(len(LETTERS)):
        raise UserError(
            f"{where}: needs four choices and an answer from 0 to 3; `dvc repro prepare`"
        )
    return Question(subject, text, choices, answer)


def _hash(question: Question) -> str:
    content = [question.subject, question.question, *question.choices, question.answer]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
