"""How byte-level tokenizers cut a text before merging: as the regular expression that tiktoken
takes, and as the pre-tokenizer in a `tokenizer.json` of Hugging Face.

Only the forms in this table are read: two regular expressions that look alike may cut differently.
"""

from typing import Any

from llmill.text.tokenization.tokenizer import PATTERN

# GPT-2's in syntax that every regular expression library has; both cut the same.
PORTABLE = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
ORIGINAL = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# SmolLM2: every digit is cut out first, then each part between digits is cut as in GPT-2.
DIGITS = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++|\p{N}| ?[^\s\p{L}\p{N}]++|\s++(?=\p{N})|\s++$|\s+(?!\S)|\s"
)
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CUT_ALIKE = {PORTABLE: PATTERN, ORIGINAL: PATTERN, LLAMA3: LLAMA3}

Form = dict[str, Any]


def _bytes(use_regex: bool) -> Form:
    return {"type": "ByteLevel", "add_prefix_space": False, "use_regex": use_regex}


def _sequence(*forms: Form) -> Form:
    return {"type": "Sequence", "pretokenizers": list(forms)}


def _split(pattern: str) -> Form:
    matched = {"pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return _sequence({"type": "Split", **matched}, _bytes(use_regex=False))


DIGITS_FORM = _sequence({"type": "Digits", "individual_digits": True}, _bytes(use_regex=True))


def form(pattern: str) -> Form:
    """Return the pre-tokenizer of a pattern."""
    tree = DIGITS_FORM if pattern == DIGITS else _split(PORTABLE if pattern == PATTERN else pattern)
    return _with_offsets(tree)


def pattern(tree: Form | None) -> str | None:
    """Return the pattern of a pre-tokenizer; None for one that is not known."""
    forms = [(_bytes(use_regex=True), PATTERN), (DIGITS_FORM, DIGITS)]
    forms += [(_split(theirs), ours) for theirs, ours in CUT_ALIKE.items()]
    plain = _plain(tree)
    return next((ours for candidate, ours in forms if candidate == plain), None)


def _plain(tree: Any) -> Any:
    """Remove options that do not change ids, and add the ones that old files leave out."""
    if not isinstance(tree, dict):
        return tree
    if tree.get("type") == "Sequence":
        parts = tree.get("pretokenizers")
        parts = parts if isinstance(parts, list) else []
        return tree | {"pretokenizers": [_plain(part) for part in parts]}
    if tree.get("type") == "ByteLevel":
        return {"use_regex": True, **{k: v for k, v in tree.items() if k != "trim_offsets"}}
    return tree


def _with_offsets(tree: Form) -> Form:
    """Add the field that the library requires and that does not change ids."""
    parts = [
        part | {"trim_offsets": True} if part["type"] == "ByteLevel" else part
        for part in tree["pretokenizers"]
    ]
    return tree | {"pretokenizers": parts}
