"""Halves of characters: surrogates of UTF-16 without the other one."""


def without_halves(text: str) -> str:
    """Return a text that UTF-8 can hold: each lone surrogate, which JSON's escapes can spell,
    becomes U+FFFD.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
