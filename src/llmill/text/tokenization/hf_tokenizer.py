"""The tokenizer of weights to start from: ours, GPT-2's, or a maker's `tokenizer.json`.

A `tokenizer.json` is accepted if llmill encodes every text as the file specifies: byte-level BPE
whose merges follow the ids of the tokens they make, no normalizer, and a known pre-tokenizer.
Anything else is refused by name.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from llmill.contract import elsewhere
from llmill.contract.elsewhere import quoted
from llmill.contract.errors import UserError
from llmill.contract.known import GPT2_TOKENS
from llmill.contract.model_folder import BPE, CHAT_TEMPLATE, CONFIG, TOKENIZER_CONFIG
from llmill.contract.values import Natural
from llmill.text.tokenization import patterns
from llmill.text.tokenization.tokenizer import Tokenizer, as_ranks, from_gpt2, pairs_of, read_ranks

JSON, ADDED = "tokenizer.json", "added_tokens.json"
GPT2 = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
GPT2_RANKS = GPT2_TOKENS - 1  # all but <|endoftext|>
ENDS_IN = (CONFIG, "generation_config.json")
ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>")  # used if the config names none
KEEPS = {  # options that change what a model encodes, and the values they must have
    "type": ("BPE",),
    "dropout": (None, 0, 0.0),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "byte_fallback": (False, None),
}


class FilePart(BaseModel):
    """The fields of a file that are read; others are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Added(FilePart):
    """A token that is found in a text before the text is cut."""

    content: str
    id: Natural
    special: bool = False
    lstrip: bool = False  # whether it takes the white space around it
    rstrip: bool = False
    single_word: bool = False


class Merging(FilePart):
    """The model: tokens with their ids, and merges, each a list or a pair with a space between."""

    vocab: dict[str, Natural]
    merges: list[str | list[str]]
    ignore_merges: bool | None = False
    unk_token: str | None = None


class Described(FilePart):
    """The fields of a `tokenizer.json` that are read; `patterns` knows the pre-tokenizer."""

    model: Merging
    normalizer: dict[str, Any] | None = None
    added_tokens: list[Added] | None = None


def read(folder: Path) -> Tokenizer:
    """Return a model folder's tokenizer. Raises `UserError` for one that cannot be used exactly."""
    tokenizer = _of_another_maker(folder)
    _refuse_more(folder, tokenizer)
    ends = [i for file in ENDS_IN for i in _ends(folder / file) if 0 <= i < tokenizer.n_vocab]
    tokenizer.ends |= frozenset(ends)
    return tokenizer


def _refuse_more(folder: Path, tokenizer: Tokenizer) -> None:
    """Raise `UserError` for additions to the tokenizer in the files beside it.

    Added tokens matter only where a template may name them; texts are not searched for them.
    """
    settings = folder / TOKENIZER_CONFIG
    beside = elsewhere.read_object(settings) if settings.exists() else {}
    if beside.get("add_prefix_space") is True:
        raise UserError(f"{settings}: add_prefix_space is not supported")
    if not _has_template(folder):
        return
    added, decoder = folder / ADDED, beside.get("added_tokens_decoder")
    named = elsewhere.read_object(added) if added.exists() else {}
    listed: list[tuple[Path, Any, Any]] = [(added, name, i) for name, i in named.items()]
    for i, token in decoder.items() if isinstance(decoder, dict) else ():
        name = token.get("content") if isinstance(token, dict) else None
        listed.append((settings, name, int(i) if i.isdecimal() else -1))
    for file, name, i in listed:
        known = isinstance(name, str) and (
            tokenizer.special.get(name) == i or tokenizer.ranks.get(name.encode()) == i
        )
        if not known:
            raise UserError(
                f"{file}: adds {quoted(name)} as token {quoted(i)}, which {JSON} does not contain; "
                "load the tokenizer with transformers and save it again"
            )


def _has_template(folder: Path) -> bool:
    settings = folder / TOKENIZER_CONFIG
    said = elsewhere.read_object(settings) if settings.exists() else {}
    return (folder / CHAT_TEMPLATE).exists() or said.get("chat_template") is not None


def _of_another_maker(folder: Path) -> Tokenizer:
    if (folder / JSON).exists():
        return from_json(folder / JSON)
    for names in GPT2:
        if all((folder / name).exists() for name in names):
            return from_gpt2(folder, *names)
    for file in sorted(folder.glob("*.tiktoken")):
        return _from_ranks(file)
    forms = ", ".join([f"{BPE}/", JSON, *map(" and ".join, GPT2), "*.tiktoken"])
    raise UserError(f"{folder}: no tokenizer beside the weights; it would be {forms}")


def from_json(file: Path) -> Tokenizer:
    """Read a `tokenizer.json` of byte-level BPE."""
    tree = elsewhere.read_object(file)
    described = _described(file, tree)
    model = described.model
    if described.normalizer is not None:
        kind = quoted(described.normalizer.get("type")).strip("'")
        raise UserError(f"{file}: normalizer {kind} is not supported: it changes the text")
    pattern = patterns.pattern(tree.get("pre_tokenizer"))
    if pattern is None:
        raise UserError(
            f"{file}: pre_tokenizer {json.dumps(tree.get('pre_tokenizer'))[:200]} is not one that "
            "llmill knows to cut alike; src/llmill/text/tokenization/patterns.py has them"
        )
    special = _special(file, described.added_tokens or [])
    named = [(name, i) for name in ENDS_IN for i in _ends(file.with_name(name))]
    return of_merges(file, model, pattern, special, end_name(file, special, named))


def of_merges(
    file: Path, model: Merging, pattern: str, special: dict[str, int], end: str
) -> Tokenizer:
    """Return a tokenizer of the tokens and merges in a file. Raises `UserError` if merging by id
    would use another order than the file's.
    """
    ranks = _ranks(file, model.vocab, special)
    if len(ranks) < len(model.vocab) - len(special.keys() & model.vocab.keys()):
        raise UserError(f"{file}: two tokens stand for the same bytes")
    try:
        tokenizer = Tokenizer(ranks, pattern, special, end)
    except ValueError as error:  # a lone surrogate in a name, or no tokens at all
        raise UserError(f"{file}: not usable ({error})") from None
    if tokenizer.absent and model.unk_token is not None:
        raise UserError(
            f"{file}: unk_token {quoted(model.unk_token)} is not supported where bytes have no "
            "token"
        )
    _refuse_other_merges(file, ranks, model)
    return tokenizer


def _described(file: Path, tree: dict[str, Any]) -> Described:
    """Check and return the fields that are read."""
    model = tree.get("model")
    if not isinstance(model, dict) or not {"vocab", "merges"} <= model.keys():
        raise UserError(f"{file}: its model has no vocab and merges, so it is no BPE")
    for name, allowed in KEEPS.items():
        if model.get(name, allowed[0]) not in allowed:
            raise UserError(
                f"{file}: model.{name} = {quoted(model[name])} is not supported, only "
                f"{allowed[0]!r}"
            )
    try:
        return Described.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{file}: {elsewhere.problem(error)}") from None


def _special(file: Path, added: list[Added]) -> dict[str, int]:
    """Return special tokens by name. Refuse other added tokens: they would be cut out of texts."""
    other = next((token.content for token in added if not token.special), None)
    if other is not None:
        raise UserError(
            f"{file}: added token {quoted(other)} is not special, which is not supported"
        )
    for token in added if _has_template(file.parent) else []:
        taking = [name for name in ("lstrip", "rstrip", "single_word") if getattr(token, name)]
        if taking:
            raise UserError(
                f"{file}: added token {quoted(token.content)} has {taking[0]}, which is not "
                "supported"
            )
    return {token.content: token.id for token in added}


def _ranks(file: Path, vocabulary: dict[str, int], special: dict[str, int]) -> dict[bytes, int]:
    """Return bytes and id of every other token. Raises `UserError` for missing or repeated ids."""
    letter = next((n for n in special if len(n) == 1 and n in vocabulary), None)
    if letter is not None:  # often the padding token, although texts contain it
        raise UserError(f"{file}: {quoted(letter)} is a special token and a letter of texts")
    moved = next((n for n, i in special.items() if vocabulary.get(n, i) != i), None)
    if moved is not None:
        raise UserError(f"{file}: {quoted(moved)} has two ids")
    tokens = {token: i for token, i in vocabulary.items() if token not in special}
    ids = {*tokens.values(), *special.values()}
    n_vocab = len(tokens) + len(special)
    if ids != set(range(n_vocab)):
        missing = min(set(range(n_vocab)) - ids, default=n_vocab)
        raise UserError(f"{file}: {n_vocab} tokens, but none has id {missing}")
    try:
        return as_ranks(tokens)
    except KeyError as error:
        raise UserError(
            f"{file}: a token holds {error.args[0]!r}, which stands for no byte; llmill reads "
            "byte-level BPE only"
        ) from None


def _refuse_other_merges(file: Path, ranks: dict[bytes, int], model: Merging) -> None:
    """Refuse a file whose list of merges gives other results than merging by id.

    Both give the same if, for every token, the pairs that can ever meet are in the list and in the
    order of ids. Then both merge the same pairs in the same order for any text.
    """
    place = {pair: number for number, pair in enumerate(_pairs(file, model.merges))}
    unknown = next((a + b for a, b in place if a + b not in ranks), None)
    if unknown is not None:
        raise UserError(f"{file}: a merge makes {unknown!r}, which is no token")
    last, before = -1, b""
    for token in sorted(ranks, key=ranks.__getitem__):
        if len(token) == 1:
            continue
        pairs = pairs_of(token, ranks)
        places = [place.get(pair, -1) for pair in pairs]
        if -1 in places or not (places or model.ignore_merges):
            raise UserError(f"{file}: no merge makes {token!r} of what is merged before it")
        if places and min(places) < last:
            raise UserError(f"{file}: {token!r} is merged before {before!r}, but has a higher id")
        if any(a != b and a[1] == b[0] for a in pairs for b in pairs):
            raise UserError(f"{file}: {token!r} can be merged in two ways that overlap")
        last, before = max([last, *places]), token


def _pairs(file: Path, merges: list[str | list[str]]) -> list[tuple[bytes, bytes]]:
    """Return the merges as bytes; a file spells each as a list or with a space between."""
    pairs = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in merges]
    names = {name: 0 for pair in pairs for name in pair}
    wrong = next((pair for pair in pairs if len(pair) != 2), None)
    if wrong is not None:
        raise UserError(f"{file}: merge {quoted(wrong)} is no pair")
    try:
        content = {name: next(iter(as_ranks({name: 0}))) for name in names}
    except KeyError as error:
        raise UserError(f"{file}: a merge holds {error.args[0]!r}, no byte") from None
    return [(content[a], content[b]) for a, b in pairs]


def end_name(file: Path, special: dict[str, int], named: list[tuple[str, int]]) -> str:
    """Return the special token that ends a text.

    It has the first id in `named`, which gives places and ids, or a usual name if `named` is empty.
    """
    if not named:
        names, what = [name for name in ENDS if name in special], ENDS[0]
    else:
        where, end = named[0]
        names = [name for name, i in special.items() if i == end]
        what = f"id {end}, which {where} calls the end"
    if not names:
        raise UserError(f"{file}: no special token is {what}; llmill needs one that ends a text")
    return names[0]


def _ends(config: Path) -> list[int]:
    """Return the ids that a config calls the end of a text: one, several, or none."""
    value = elsewhere.read_object(config).get("eos_token_id") if config.exists() else None
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(type(i) is int for i in ids):
        raise UserError(f"{config}: eos_token_id = {quoted(value)}: must be an id or a list of ids")
    return ids


def _from_ranks(file: Path) -> Tokenizer:
    """Read a list of ranks in tiktoken's format. Only GPT-2's is accepted, because such a list does
    not say how text is cut.
    """
    ranks = read_ranks(file)
    if sorted(ranks.values()) != list(range(GPT2_RANKS)):
        raise UserError(
            f"{file}: {len(ranks)} tokens, and only GPT-2's list of {GPT2_RANKS} is known by its "
            f"length; put {JSON} beside it, which says how text is cut"
        )
    return Tokenizer(ranks)
