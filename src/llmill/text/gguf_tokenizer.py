"""The tokenizer and the chat template in the metadata of a GGUF file: byte-level BPE of GPT-2's
kind, whose way of cutting the file names in one word.
"""

from llmill.contract.elsewhere import quoted
from llmill.contract.errors import UserError
from llmill.text import hf_tokenizer
from llmill.text.gguf_file import Gguf
from llmill.text.hf_tokenizer import Merging
from llmill.text.patterns import DIGITS, LLAMA3
from llmill.text.tokenizer import PATTERN, Tokenizer

KEYS = "tokenizer.ggml."
NORMAL, USER_DEFINED, BYTE = 1, 4, 6  # kinds of tokens; all others are special
# What llama.cpp calls ways of cutting (src/llama-vocab.cpp), of those that cut alike.
PRE = {
    **dict.fromkeys(("gpt-2", "phi-2"), PATTERN),
    **dict.fromkeys(("smollm", "starcoder", "refact", "codeshell"), DIGITS),
    **dict.fromkeys(("llama3", "llama-v3", "llama-bpe"), LLAMA3),
}
NAMES = {PATTERN: "gpt-2", DIGITS: "smollm", LLAMA3: "llama-bpe"}  # as stage export writes them
ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")


def read(source: Gguf) -> Tokenizer:
    """The tokenizer; raises `UserError` for one that cannot be used exactly, and for none."""
    kind = source.text(f"{KEYS}model")
    if kind is None:
        raise UserError(f"{source.file}: no tokenizer inside ({KEYS}model is missing)")
    if kind != "gpt2":
        raise UserError(
            f"{source.file}: {KEYS}model = {quoted(kind)} is not supported, only 'gpt2', "
            "byte-level BPE"
        )
    pattern = _pattern(source)
    tokens, kinds = source.rows(f"{KEYS}tokens", str), source.rows(f"{KEYS}token_type", int)
    if len(tokens) != len(kinds):
        raise UserError(f"{source.file}: {len(tokens)} tokens, but {len(kinds)} kinds of them")
    vocabulary = {token: i for i, token in enumerate(tokens)}
    own = next((t for t, k in zip(tokens, kinds, strict=True) if k == USER_DEFINED), None)
    if own is not None:
        raise UserError(
            f"{source.file}: added token {quoted(own)} is not special, which is not supported"
        )
    special = {t: vocabulary[t] for t, k in zip(tokens, kinds, strict=True) if k != NORMAL}
    ends = [i for name in ENDS if (i := source.number(KEYS + name)) is not None]
    # A list of nothing cannot be written, so it is left out.
    merges = list(source.rows(f"{KEYS}merges", str)) if f"{KEYS}merges" in source.values else []
    merging = Merging(
        vocab=vocabulary,
        merges=merges,
        ignore_merges=pattern == LLAMA3,  # as llama.cpp takes it
    )
    end = hf_tokenizer.end_name(source.file, special, [("the metadata", i) for i in ends])
    tokenizer = hf_tokenizer.of_merges(source.file, merging, pattern, special, end)
    tokenizer.ends |= {i for i in ends if i < tokenizer.n_vocab}
    return tokenizer


def begins(source: Gguf) -> int | None:
    """The token that a text begins behind, if the file names one."""
    return source.number(f"{KEYS}bos_token_id")


def template(source: Gguf) -> str | None:
    """The chat template, in Jinja."""
    return source.text("tokenizer.chat_template")


def _pattern(source: Gguf) -> str:
    name = source.text(f"{KEYS}pre")
    if name is None and source.architecture == "gpt2":
        return PATTERN  # files older than the word, whose architecture says it
    if name not in PRE:
        raise UserError(
            f"{source.file}: {KEYS}pre = {quoted(name)}: not a way of cutting text that llmill "
            f"knows; known: {', '.join(sorted(PRE))}"
        )
    return PRE[name]
