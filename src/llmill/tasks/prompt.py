"""The prompt template, in the one place where it stands (Stanford Alpaca, Taori et al. 2023)."""

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
