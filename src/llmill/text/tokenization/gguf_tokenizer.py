"""The tokenizer and the chat template in the metadata of a GGUF file: byte-level BPE of GPT-2's
kind. The file names its pre-tokenizer in one word.
"""

from typing import Any

from llmill.contract.elsewhere import quoted
from llmill.contract.errors import UserError
from llmill.text.files.gguf_file import Gguf
from llmill.text.tokenization import hf_tokenizer
from llmill.text.tokenization.hf_tokenizer import Merging
from llmill.text.tokenization.patterns import DIGITS, LLAMA3
from llmill.text.tokenization.template import NAMED, with_names
from llmill.text.tokenization.tokenizer import PATTERN, Tokenizer, merged, spelt
from llmill.text.tokenization.tokenizer_json import merges

GGML = "tokenizer.ggml."
CALLED = {"pad_token": "padding_token", "unk_token": "unknown_token"}  # their names in GGUF
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # kinds of tokens; all but normal ones are special
# llama.cpp's names of pre-tokenizers (src/llama-vocab.cpp), of those that cut alike.
PRE = {
    **dict.fromkeys(("gpt-2", "phi-2"), PATTERN),
    **dict.fromkeys(("smollm", "starcoder", "refact", "codeshell"), DIGITS),
    **dict.fromkeys(("llama3", "llama-v3", "llama-bpe"), LLAMA3),
}
NAMES = {PATTERN: "gpt-2", DIGITS: "smollm", LLAMA3: "llama-bpe"}  # as stage export writes them
ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")


def read(source: Gguf) -> Tokenizer:
    """Return the tokenizer. Raises `UserError` if there is none or it cannot be used exactly."""
    kind = source.text(f"{GGML}model")
    if kind is None:
        raise UserError(f"{source.file}: no tokenizer inside ({GGML}model is missing)")
    if kind != "gpt2":
        raise UserError(
            f"{source.file}: {GGML}model = {quoted(kind)} is not supported, only 'gpt2', "
            "byte-level BPE"
        )
    pattern = _pattern(source)
    tokens, kinds = source.rows(f"{GGML}tokens", str), source.rows(f"{GGML}token_type", int)
    if len(tokens) != len(kinds):
        raise UserError(f"{source.file}: {len(tokens)} tokens, but {len(kinds)} kinds of them")
    vocabulary = {token: i for i, token in enumerate(tokens)}
    own = next((t for t, k in zip(tokens, kinds, strict=True) if k == USER_DEFINED), None)
    if own is not None:
        raise UserError(
            f"{source.file}: added token {quoted(own)} is not special, which is not supported"
        )
    special = {t: vocabulary[t] for t, k in zip(tokens, kinds, strict=True) if k != NORMAL}
    ends = [i for name in ENDS if (i := source.number(GGML + name)) is not None]
    # An empty list cannot be written, so it is left out.
    pairs = list(source.rows(f"{GGML}merges", str)) if f"{GGML}merges" in source.values else []
    merging = Merging(
        vocab=vocabulary,
        merges=pairs,
        ignore_merges=pattern == LLAMA3,  # as in llama.cpp
    )
    end = hf_tokenizer.end_name(source.file, special, [("the metadata", i) for i in ends])
    tokenizer = hf_tokenizer.of_merges(source.file, merging, pattern, special, end)
    tokenizer.ends |= {i for i in ends if i < tokenizer.n_vocab}
    return tokenizer


def lacking(tokenizer: Tokenizer) -> str | None:
    """Return why llama.cpp would not cut or merge as the tokenizer does, if it would not."""
    if tokenizer.pattern not in NAMES:
        return "llama.cpp has no name for this way of cutting text"
    if tokenizer.pattern != LLAMA3 and any(
        len(merged(token, tokenizer.ranks, rank)) > 2 for token, rank in tokenizer.ranks.items()
    ):
        return "llama.cpp cannot merge some of these tokens"
    return None


def values(tokenizer: Tokenizer, begins: bool) -> dict[str, Any]:
    """Return the metadata of a tokenizer that lacks nothing.

    `begins`: whether every text begins with the token that ends one.
    """
    spelt_out = {rank: spelt(token) for token, rank in tokenizer.ranks.items()}
    names = spelt_out | {i: name for name, i in tokenizer.special.items()}
    ids, end = range(tokenizer.n_vocab), tokenizer.end_of_text
    pairs = [f"{spelt(a)} {spelt(b)}" for a, b in merges(tokenizer.ranks)]
    others = dict(zip(ENDS[1:], sorted(tokenizer.ends - {end}), strict=False))
    return {
        f"{GGML}model": "gpt2",
        f"{GGML}pre": NAMES[tokenizer.pattern],
        f"{GGML}tokens": [names[i] for i in ids],
        f"{GGML}token_type": [NORMAL if i in spelt_out else CONTROL for i in ids],
        **({f"{GGML}merges": pairs} if pairs else {}),
        **dict.fromkeys((f"{GGML}{n}_token_id" for n in ("bos", "eos", "padding")), end),
        **{f"{GGML}{name}": i for name, i in others.items()},
        f"{GGML}add_bos_token": begins,
    }


def begins(source: Gguf) -> int | None:
    """Return the token that a text begins with, if the file names one."""
    return source.number(f"{GGML}bos_token_id")


def template(source: Gguf) -> str | None:
    """Return the chat template, in Jinja. It then names its first and last token itself."""
    text = source.text("tokenizer.chat_template")
    if text is None:
        return None
    tokens = source.rows(f"{GGML}tokens", str)
    ids = {n: source.number(f"{GGML}{CALLED.get(n, n)}_id") for n in NAMED}
    known = {n: tokens[i] for n, i in ids.items() if i is not None and 0 <= i < len(tokens)}
    return with_names(text, {name: known.get(name, "") for name in NAMED})


def _pattern(source: Gguf) -> str:
    name = source.text(f"{GGML}pre")
    if name is None and source.architecture == "gpt2":
        return PATTERN  # older files lack the word, but their architecture implies it
    if name not in PRE:
        raise UserError(
            f"{source.file}: {GGML}pre = {quoted(name)}: not a way of cutting text that llmill "
            f"knows; known: {', '.join(sorted(PRE))}"
        )
    return PRE[name]
