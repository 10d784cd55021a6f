"""What an embedded judge reads: the prompt, the answer, the end of the text, as one row of ids.

The grader learns on these rows and judges by them; nothing else builds them.
"""

from llmill.tasks.prompt import prompt
from llmill.text.tokenizer import Tokenizer


def ids(
    tokenizer: Tokenizer, instruction: str, input: str, answer: str, block_size: int
) -> list[int]:
    """At most `block_size` ids: end of text, prompt, answer, end of text.

    Too long, the prompt loses its left; an answer that is too long by itself loses its end. The
    last id always says that the answer is over, and there the score is read.
    """
    end = tokenizer.end_of_text
    after = [*tokenizer.encode(answer)[: block_size - 1], end]
    before = [end, *tokenizer.encode(prompt(instruction, input))]
    room = block_size - len(after)
    return (before[-room:] if room else []) + after
