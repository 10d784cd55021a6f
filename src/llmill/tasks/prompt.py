"""How a task is put to a model: to the assistant in the Alpaca template (Taori et al. 2023), to
every other reader as a question.
"""

from llmill.tasks.instruction import Instruction
from llmill.text.tokenizer import Tokenizer

TASK = "Below is an instruction that describes a task"
WITH_INPUT = (
    f"{TASK}, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
WITHOUT_INPUT = (
    f"{TASK}. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)
# The same for programs that know nothing of ours: one instruction, no earlier turns, after the
# <|endoftext|> that every document begins behind.
CHAT_TEMPLATE = (
    "{% if messages | length != 1 or messages[0]['role'] != 'user' %}"
    "{{ raise_exception('this assistant takes one message, of the user') }}{% endif %}"
    f"{{{{ bos_token }}}}{WITHOUT_INPUT.split('{instruction}')[0]}"
    "{{ messages[0]['content'] }}"
    f"{WITHOUT_INPUT.split('{instruction}')[1].rstrip()}{{{{ '\\n' }}}}"
)


def prompt(instruction: str, input: str) -> str:
    """Everything before the response. An empty input gives the shorter form."""
    form = WITH_INPUT if input else WITHOUT_INPUT
    return form.format(instruction=instruction, input=input)


def prompt_ids(tokenizer: Tokenizer, entry: Instruction) -> list[int]:
    """The prompt as a document begins: after <|endoftext|>."""
    return [tokenizer.end_of_text, *tokenizer.encode(prompt(entry.instruction, entry.input))]


def question(text: str) -> str:
    """Everything before the answer; the world's texts ask in the same form."""
    return f"Question: {text}\nAnswer:"
