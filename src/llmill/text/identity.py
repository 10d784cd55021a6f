"""What a text is known by: its normal form, and places in [0, 1) drawn from it."""

from llmill.contract.record import sha256_text


def normal(text: str) -> str:
    """The text without differences of case and white space."""
    return " ".join(text.casefold().split())


def fraction(content: str, purpose: str) -> float:
    """A number in [0, 1) that follows from the content; those of two purposes are independent."""
    return int(sha256_text(f"{purpose}:{content}")[:13], 16) / 16**13
