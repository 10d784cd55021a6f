"""The token ids of a model: the ids of its tokenizer and, if it is not causal, one more for the
mask token, which no text encodes to.
"""

from llmill.model.settings import Model


def mask_id(n_vocab: int) -> int:
    """Return the id of the mask token: the first id that the tokenizer does not have."""
    return n_vocab


def size(config: Model, n_vocab: int) -> int:
    """Return the vocabulary size of a model of this shape with a tokenizer of `n_vocab` tokens."""
    return n_vocab if config.causal else mask_id(n_vocab) + 1
