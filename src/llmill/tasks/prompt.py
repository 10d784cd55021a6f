"""How a task is put to every reader except the assistant: as a question."""


def question(text: str) -> str:
    """Return everything before the answer, in the same form as questions in the world's texts."""
    return f"Question: {text}\nAnswer:"
