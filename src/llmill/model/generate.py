"""Generation: greedy or sampled continuations of a batch of prompts.

Rows of any length stand in one batch, padded on the right; attention is causal, so a row's tokens
do not depend on the rows beside it. A text longer than the context is continued from its last
`block_size` tokens.
"""

import torch
from torch import Tensor

from llmill.model.transformer import Transformer


@torch.inference_mode()
def generate(
    model: Transformer,
    prompts: list[list[int]],
    *,
    max_new_tokens: int,
    end_of_text: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    seed: int = 0,
) -> list[list[int]]:
    """New tokens of each prompt, up to `max_new_tokens` or before `end_of_text`. Temperature 0 is
    greedy.
    """
    generator = torch.Generator().manual_seed(seed)
    texts = [list(ids) or [end_of_text] for ids in prompts]
    starts = [len(ids) for ids in texts]
    open_rows = list(range(len(texts)))
    for _ in range(max_new_tokens):
        if not open_rows:
            break
        logits = _next_logits(model, [texts[row] for row in open_rows])  # (B, V)
        chosen = _choose(logits, temperature, top_k, generator)
        for row, token in zip(open_rows, chosen, strict=True):
            texts[row].append(token)
        open_rows = [r for r, token in zip(open_rows, chosen, strict=True) if token != end_of_text]
    new = [ids[start:] for ids, start in zip(texts, starts, strict=True)]
    return [ids[:-1] if ids and ids[-1] == end_of_text else ids for ids in new]


def _next_logits(model: Transformer, texts: list[list[int]]) -> Tensor:
    device = next(model.parameters()).device
    windows = [ids[-model.config.block_size :] for ids in texts]
    idx = torch.zeros(len(windows), max(map(len, windows)), dtype=torch.long)
    last = torch.zeros_like(idx, dtype=torch.bool)
    for row, ids in enumerate(windows):
        idx[row, : len(ids)] = torch.tensor(ids)
        last[row, len(ids) - 1] = True
    return model(idx.to(device), last.to(device)).float().cpu()


def _choose(
    logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator
) -> list[int]:
    if temperature == 0:
        return logits.argmax(dim=-1).tolist()
    logits = logits / temperature
    if top_k is not None and top_k < logits.size(-1):
        smallest = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, float("-inf"))
    return torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)[:, 0].tolist()
