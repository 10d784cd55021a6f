"""What an embedded judge reads: the task, the reference, the answer, the end of the text, as one
row of ids.

The grader learns on these rows and judges by them; nothing else builds them. The task is put as a
question, without the words that every prompt begins with: the judge has no use for them.
"""

from llmill.tasks.prompt import question
from llmill.text.tokenization.tokenizer import Tokenizer


def task(instruction: str, input: str) -> str:
    """Everything before the reference."""
    return question(" ".join(filter(None, (instruction, input))))


def ids(
    tokenizer: Tokenizer, instruction: str, input: str, reference: str, answer: str, block_size: int
) -> list[int]:
    """At most `block_size` ids: task, reference and answer, each between ends of text.

    Too long, the task loses its left, then the reference; an answer that is too long by itself
    loses its end. The last id always says that the answer is over, and there the score is read.
    """
    end = tokenizer.end_of_text
    after = [*[end, *tokenizer.encode(f" {answer}")][: block_size - 1], end]
    asked, known = tokenizer.encode(task(instruction, input)), tokenizer.encode(f" {reference}")
    before = [end, *asked, end, *known]
    room = block_size - len(after)
    return (before[-room:] if room else []) + after
