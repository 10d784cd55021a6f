"""How a task is put to a model: to the assistant in the Alpaca template (Taori et al. 2023), to
every other reader as a question.
"""

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


def prompt(instruction: str, input: str) -> str:
    """Everything before the response. An empty input gives the shorter form."""
    form = WITH_INPUT if input else WITHOUT_INPUT
    return form.format(instruction=instruction, input=input)


def question(text: str) -> str:
    """Everything before the answer; the world's texts ask in the same form."""
    return f"Question: {text}\nAnswer:"
