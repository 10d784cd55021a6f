"""The ids that a model knows: those of its tokenizer and, where it is not causal, one more, the
mask token, which no text encodes to.
"""

from llmill.model.settings import Model


def mask_id(n_vocab: int) -> int:
    """The id that stands for a hidden token: the first that the tokenizer does not have."""
    return n_vocab


def size(config: Model, n_vocab: int) -> int:
    """How many ids a model of this shape knows, with a tokenizer of so many tokens."""
    return n_vocab if config.causal else mask_id(n_vocab) + 1
