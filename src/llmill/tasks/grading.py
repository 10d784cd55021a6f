"""The input of an embedded judge: task, reference, answer and end of text as one row of ids.

The grader trains on these rows and judges with them, and no other code builds them. The task is put
as a question, without the words that every prompt begins with, because the judge does not need
them.
"""

from llmill.tasks.prompt import question
from llmill.text.tokenization.tokenizer import Tokenizer


def task(instruction: str, input: str) -> str:
    """Return everything before the reference."""
    return question(" ".join(filter(None, (instruction, input))))


def ids(
    tokenizer: Tokenizer, instruction: str, input: str, reference: str, answer: str, block_size: int
) -> list[int]:
    """Return at most `block_size` ids: task, reference and answer, each between end-of-text tokens.

    If the row is too long, the task loses its left part first, then the reference. An answer that
    is too long by itself loses its end. The last id always marks the end of the answer, and the
    score is read there.
    """
    end = tokenizer.end_of_text
    after = [*[end, *tokenizer.encode(f" {answer}")][: block_size - 1], end]
    asked, known = tokenizer.encode(task(instruction, input)), tokenizer.encode(f" {reference}")
    before = [end, *asked, end, *known]
    room = block_size - len(after)
    return (before[-room:] if room else []) + after
