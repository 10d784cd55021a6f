"""Greedy generation in batches."""

from collections.abc import Sequence

from llmill.contract.progress import Progress, in_silence
from llmill.model.generate import generate
from llmill.model.transformer import Transformer
from llmill.text.tokenization.tokenizer import Tokenizer

AT_ONCE = 64  # prompts per batch; each needs memory for keys and values


def greedy(
    model: Transformer,
    tokenizer: Tokenizer,
    prompts: Sequence[list[int]],
    most: int,
    progress: Progress = in_silence,
) -> list[list[int]]:
    """Generate greedily; return at most `most` ids per prompt, without the end token."""
    texts: list[list[int]] = []
    for start in range(0, len(prompts), AT_ONCE):
        texts += generate(
            model,
            list(prompts[start : start + AT_ONCE]),
            max_new_tokens=most,
            end_of_text=tokenizer.end_of_text,
            ends=tokenizer.ends,
        )
        progress(len(texts), len(prompts))
    return texts
