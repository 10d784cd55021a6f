"""What a language model knows, asked in several ways: the likeliest choice behind the question, the
same inside an assistant's template, and the value written freely behind either.

Free writing is right where the text holds the right choice and no other. What another question's
text would give is measured beside it: a text that lists values, or says one thing, earns nothing
more than that.
"""

from collections.abc import Callable, Sequence

import regex

from llmill.evaluation.inference.scoring import Progress, in_silence
from llmill.evaluation.inference.writing import greedy
from llmill.evaluation.matching.exact_match import normalise
from llmill.evaluation.multiple_choice.prompts import cloze_prompt
from llmill.model.transformer import Transformer
from llmill.tasks.conversation import message
from llmill.tasks.multiple_choice import Question
from llmill.text import words
from llmill.text.tokenization.template import Template
from llmill.text.tokenization.tokenizer import Tokenizer

MARKS = regex.compile(r"\p{M}+$")  # at the end
OTHER = rf"[[\w]--{words.LETTER}]"  # what goes on with a word of a script that has spaces
WRITTEN = 24  # tokens of a free answer


def in_template(template: Template) -> Callable[[Question], list[int]]:
    """The ids of a question as an assistant is asked it."""
    return lambda question: template.prompt([message("user", question.question)])


def behind_questions(tokenizer: Tokenizer) -> Callable[[Question], list[int]]:
    """The ids of a question as texts ask it, behind the end of another document."""
    return lambda question: [tokenizer.end_of_text, *tokenizer.encode(cloze_prompt(question))]


def written(
    model: Transformer,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    progress: Progress = in_silence,
    asked: Callable[[Question], list[int]] | None = None,
) -> list[str]:
    """The first line that the model writes greedily behind each question, put as `asked` says."""
    context = asked or behind_questions(tokenizer)
    prompts = [context(question) for question in questions]
    ids = greedy(model, tokenizer, prompts, WRITTEN, progress)
    return [tokenizer.decode(each).strip().split("\n")[0] for each in ids]


def holds(text: str, question: Question) -> bool:
    """Whether a text holds the right choice as whole words, and none of the others, of which those
    that are a part of the right one may stand in it.
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
    """Finds a choice where it is no part of a longer word or number."""
    # Behind a word a line is no sign, and a point no fraction's: 1914-1918, is...42.
    sign_or_fraction = r"(?<!\d[.,])(?<!^[-−.])(?<![^\w.][-−.])"
    # Scripts without spaces put words side by side; a mark belongs to the letter before it.
    first, last = choice[0], MARKS.sub("", choice)[-1:]
    spaceless = words.SPACELESS.fullmatch
    before = "" if spaceless(first) else rf"(?<!{OTHER})" + sign_or_fraction * first.isdigit()
    after = "" if spaceless(last) else rf"(?!{OTHER})" + r"(?![.,]\d)" * last.isdigit()
    return regex.compile(rf"(?V1){before}{regex.escape(choice)}(?!\p{{M}}){after}")


def of_others(texts: Sequence[str], questions: Sequence[Question]) -> float:
    """The share of questions that the text of the next question would answer."""
    turned = [*texts[1:], *texts[:1]]
    return sum(map(holds, turned, questions)) / max(1, len(questions))
