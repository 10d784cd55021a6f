"""How a task is put to every reader but the assistant: as a question."""


def question(text: str) -> str:
    """Everything before the answer; the world's texts ask in the same form."""
    return f"Question: {text}\nAnswer:"
