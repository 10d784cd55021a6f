"""Select multiple-choice questions and build their prompts in the letter and the cloze format.

Letter: the question with its choices in MMLU's own layout (Hendrycks et al. 2021). Cloze: only the
question, after which the text of each choice is scored. Worked examples may precede both.
"""

import difflib
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence

from llmill.contract.errors import UserError
from llmill.tasks import prompt
from llmill.tasks.multiple_choice import LETTERS, Question

Shots = dict[str, list[Question]]  # the worked examples of each subject

HEADER = "The following are multiple choice questions (with answers) about {}.\n\n"
BLIND = "Answer:"  # in place of a question that is hidden


def chance(questions: Sequence[Question]) -> float:
    """Return the expected accuracy of guessing."""
    return sum(1 / len(question.choices) for question in questions) / len(questions)


def of_subjects(questions: Sequence[Question], subjects: Sequence[str]) -> list[Question]:
    """Select these subjects (all if none is named). Raise `UserError` for an unknown one."""
    available = sorted({q.subject for q in questions})
    for name in subjects:
        if name not in available:
            near = difflib.get_close_matches(name, available, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(available)}"
            raise UserError(f"params.yaml: mmlu.subjects: no subject '{name}'; {hint}")
    return [q for q in questions if not subjects or q.subject in subjects]


def at_most(questions: Sequence[Question], per_subject: int | None) -> list[Question]:
    """Select the first `per_subject` questions of each subject by hash of their content.

    The order is kept, and does not affect the selection.
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
    dev: Sequence[Question], subjects: Iterable[str], shots: int, key: str = "shots"
) -> Shots:
    """Return the first `shots` worked examples of each subject. Raise `UserError` if there are
    fewer; its message names the parameter `key` of section `mmlu`.
    """
    by_subject: dict[str, list[Question]] = {subject: [] for subject in sorted(set(subjects))}
    for question in dev:
        if len(examples := by_subject.get(question.subject, [])) < shots:
            examples.append(question)
    for subject, examples in by_subject.items():
        if len(examples) < shots:
            raise UserError(
                f"params.yaml: mmlu.{key} = {shots}: subject '{subject}' has only {len(examples)} "
                f"questions in its dev split; lower mmlu.{key} or leave the subject out"
            )
    return by_subject


def letter_prompt(question: Question, shots: Sequence[Question], blind: bool = False) -> str:
    """Return a prompt in MMLU's layout: a header, each example with its letter, the question with
    its choices, `Answer:`. A blind prompt leaves out the question but not its choices.
    """
    header = HEADER.format(question.subject.replace("_", " "))
    examples = "".join(f"{_block(shot)} {LETTERS[shot.answer]}\n\n" for shot in shots)
    return header + examples + _block(question, blind)


def cloze_prompt(question: Question, shots: Sequence[Question] = (), blind: bool = False) -> str:
    """Return a prompt of the examples with their answers and the question without its choices. A
    blind prompt leaves out the question, too.
    """
    examples = "".join(
        f"{prompt.question(shot.question)} {shot.choices[shot.answer]}\n\n" for shot in shots
    )
    return examples + (BLIND if blind else prompt.question(question.question))


def _block(question: Question, blind: bool = False) -> str:
    choices = (f"{a}. {text}" for a, text in zip(LETTERS, question.choices, strict=False))
    return "\n".join((*([] if blind else [question.question.strip()]), *choices, "Answer:"))


def _hash(question: Question) -> str:
    content = [question.subject, question.question, *question.choices, question.answer]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
