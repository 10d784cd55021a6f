"""Test what a language model knows by free generation, after the plain question or inside an
assistant's template. (`choices.py` scores the choices in both.)

A generated text is right if it contains the right choice and none of the others. The baseline is
the text generated for another question: a text that lists values, or always says the same, scores
no more than this baseline.
"""

from collections.abc import Callable, Sequence

import regex

from llmill.contract.progress import Progress, in_silence
from llmill.evaluation.inference.writing import greedy
from llmill.evaluation.multiple_choice.prompts import cloze_prompt
from llmill.model.transformer import Transformer
from llmill.tasks.conversation import message
from llmill.tasks.multiple_choice import Question
from llmill.text import words
from llmill.text.normal import normalise
from llmill.text.tokenization.template import Template
from llmill.text.tokenization.tokenizer import Tokenizer

MARKS = regex.compile(r"\p{M}+$")  # combining marks at the end
OTHER = rf"[[\w]--{words.LETTER}]"  # continues a word in a script with spaces
WRITTEN = 24  # most tokens of a free answer


def in_template(template: Template) -> Callable[[Question], list[int]]:
    """Return a function that gives the ids of a question in an assistant's template."""
    return lambda question: template.prompt([message("user", question.question)])


def behind_questions(tokenizer: Tokenizer) -> Callable[[Question], list[int]]:
    """Return a function that gives the ids of a question as plain text at a document's start."""
    return lambda question: [tokenizer.end_of_text, *tokenizer.encode(cloze_prompt(question))]


def written(
    model: Transformer,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    progress: Progress = in_silence,
    asked: Callable[[Question], list[int]] | None = None,
) -> list[str]:
    """Generate greedily after each question; return the first line of each text.

    `asked` gives the ids of a question; the default is `behind_questions`.
    """
    context = asked or behind_questions(tokenizer)
    prompts = [context(question) for question in questions]
    ids = greedy(model, tokenizer, prompts, WRITTEN, progress)
    return [tokenizer.decode(each).strip().split("\n")[0] for each in ids]


def holds(text: str, question: Question) -> bool:
    """Return whether a text contains the right choice as whole words, and no other choice. Another
    choice may occur inside the right one.
    """
    right = normalise(question.choices[question.answer])
    others = {normalise(choice) for choice in question.choices} - {right, ""}
    said = normalise(text)
    if not right or not _whole(right).search(said):
        return False
    rest = _whole(right).sub(" ", said)
    return not any(
        _whole(other).search(rest if _whole(other).search(right) else said) for other in others
    )


def _whole(choice: str) -> "regex.Pattern[str]":
    """Compile a pattern that finds a choice unless it is part of a longer word or number."""
    # After a word, a dash is not a sign and a point starts no fraction: 1914-1918, is...42.
    sign_or_fraction = r"(?<!\d[.,])(?<!^[-−.])(?<![^\w.][-−.])"
    # Scripts without spaces join words; a combining mark belongs to the letter before it.
    first, last = choice[0], MARKS.sub("", choice)[-1:]
    spaceless = words.SPACELESS.fullmatch
    before = "" if spaceless(first) else rf"(?<!{OTHER})" + sign_or_fraction * first.isdigit()
    after = "" if spaceless(last) else rf"(?!{OTHER})" + r"(?![.,]\d)" * last.isdigit()
    return regex.compile(rf"(?V1){before}{regex.escape(choice)}(?!\p{{M}}){after}")


def of_others(texts: Sequence[str], questions: Sequence[Question]) -> float:
    """Return the share of questions that the text of the next question answers: the baseline."""
    turned = [*texts[1:], *texts[:1]]
    return sum(map(holds, turned, questions)) / max(1, len(questions))
