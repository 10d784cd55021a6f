"""One transformer with switches. GPT-2's block and the small modern block differ in a handful of
choices; a masked model differs from both in which tokens a token attends to.

GPT-2 (Radford et al. 2019): LayerNorm, learned positions, GELU, biases, dropout, tied embedding.
Modern: parameter-free RMSNorm (also on the embedding), rotary positions (Su et al. 2021),
normalised queries and keys, squared ReLU (So et al. 2021), no biases, an untied head, and output
projections initialised to zero.

Shapes: B batch, T time, C n_embd, H query heads, K key-value heads, D head size, V vocabulary.
"""

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from llmill.model.cache import Cache
from llmill.model.cross_entropy import cross_entropy
from llmill.model.settings import Model, RotaryScaling

INIT_STD = 0.02


class Norm(nn.Module):
    """LayerNorm or RMSNorm over the last dimension, (..., C), with or without weights."""

    def __init__(self, config: Model):
        super().__init__()
        self.kind, self.epsilon = config.norm, config.norm_epsilon
        self.shape = (config.n_embd,)
        self.weight = nn.Parameter(torch.ones(config.n_embd)) if config.norm_weight else None
        with_bias = config.norm_weight and config.bias and config.norm == "layernorm"
        self.bias = nn.Parameter(torch.zeros(config.n_embd)) if with_bias else None

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "layernorm":
            return F.layer_norm(x, self.shape, self.weight, self.bias, self.epsilon)
        return F.rms_norm(x, self.shape, self.weight, self.epsilon)


class Rotary(nn.Module):
    """Rotary positions: rotate each pair (i, i + D/2) of a head by an angle that grows with
    position.
    """

    cos: Tensor  # (T, D/2)
    sin: Tensor

    def __init__(self, config: Model):
        super().__init__()
        # Even for a model on the meta device, where arithmetic would import torch's compiler.
        with torch.device("cpu"):
            angle = angles(config)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, x: Tensor, places: Tensor | None = None) -> Tensor:
        """Rotate x, (B, H, T, D), by its positions: counted from zero, or `places`, (B, T)."""
        if places is None:
            cos, sin = self.cos[: x.size(-2)], self.sin[: x.size(-2)]
        else:
            cos, sin = self.cos[places][:, None], self.sin[places][:, None]  # (B, 1, T, D/2)
        first, second = x.chunk(2, dim=-1)  # (B, H, T, D/2) each
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def angles(config: Model) -> Tensor:
    """Return the angle of each pair at each position, (T, D/2), in radians."""
    size = config.n_embd // config.n_head
    frequency = config.rotary_base ** (-torch.arange(0, size, 2).float() / size)  # (D/2,)
    if config.rotary_scaling is not None:
        frequency = scaled(frequency, config.rotary_scaling)
    return torch.arange(config.block_size).float()[:, None] * frequency


def scaled(frequency: Tensor, scaling: RotaryScaling) -> Tensor:
    """Return the angles per position, (D/2,), for a longer context (Llama 3.1). Pairs that turn
    often within the original context keep their angle; pairs that turn seldom turn `factor` times
    slower.
    """
    turns = scaling.original_block_size * frequency / (2 * math.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    share = ((turns - low) / (high - low)).clamp(0, 1)
    return share * frequency + (1 - share) * frequency / scaling.factor


@dataclass(frozen=True)
class View:
    """The positions that each position of a batch attends to. By default these are all positions
    up to its own, or all positions if the model is not causal.
    """

    mask: Tensor | None = None  # (B, 1, T, T): True where a position may attend
    places: Tensor | None = None  # (B, T): position within the text; by default counted from zero
    cache: Cache | None = None  # keys and values of earlier tokens, which are attended to as well


class Attention(nn.Module):
    """Self-attention, (B, T, C) to (B, T, C). Several query heads may share a key-value head."""

    def __init__(self, config: Model, rotary: nn.Module | None):
        super().__init__()
        self.n_head, self.n_kv_head = config.n_head, config.n_kv_head
        self.size = config.n_embd // config.n_head
        self.dropout, self.qk_norm = config.dropout, config.qk_norm
        self.causal = config.causal
        self.epsilon = config.norm_epsilon
        width = (self.n_head + 2 * self.n_kv_head) * self.size
        self.qkv = nn.Linear(config.n_embd, width, bias=config.bias)
        self.out = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.rotary = rotary

    def forward(self, x: Tensor, view: View) -> Tensor:
        b, t, c = x.shape
        heads = self.qkv(x).view(b, t, -1, self.size).transpose(1, 2)  # (B, H + 2K, T, D)
        q, k, v = heads.split((self.n_head, self.n_kv_head, self.n_kv_head), dim=1)
        if self.rotary is not None:
            q, k = self.rotary(q, view.places), self.rotary(k, view.places)
        if self.qk_norm:
            q, k = (
                F.rms_norm(q, (self.size,), None, self.epsilon),
                F.rms_norm(k, (self.size,), None, self.epsilon),
            )
        if view.cache is not None:
            k, v = view.cache.extended(self, k, v)
            q = q.to(k.dtype)
        y = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=view.mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=self.causal and view.mask is None and view.cache is None,
            enable_gqa=self.n_kv_head != self.n_head,
        )  # (B, H, T, D)
        return self.out(y.to(x.dtype).transpose(1, 2).reshape(b, t, c))


class FeedForward(nn.Module):
    """Feed-forward layer with GELU, squared ReLU or SwiGLU (Shazeer 2020), (..., C) to (..., C)."""

    def __init__(self, config: Model):
        super().__init__()
        self.kind = config.mlp
        gates = 2 if config.mlp == "swiglu" else 1
        self.up = nn.Linear(config.n_embd, gates * config.mlp_hidden, bias=config.bias)
        self.down = nn.Linear(config.mlp_hidden, config.n_embd, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.up(x)
        if self.kind == "gelu":
            h = F.gelu(h, approximate="tanh")
        elif self.kind == "relu2":
            h = F.relu(h).square()
        else:
            gate, value = h.chunk(2, dim=-1)
            h = F.silu(gate) * value
        return self.down(h)


class Block(nn.Module):
    """Attention and feed-forward with pre-normalisation and residual connections, on (B, T, C)."""

    def __init__(self, config: Model, rotary: nn.Module | None):
        super().__init__()
        self.norm1, self.attention = Norm(config), Attention(config, rotary)
        self.norm2, self.mlp = Norm(config), FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, view: View) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x), view))
        return x + self.dropout(self.mlp(self.norm2(x)))


class Transformer(nn.Module):
    """Language model that maps token ids (B, T) to logits (B, T, V) of the next token, or of the
    token at each position if the model is not causal.
    """

    def __init__(self, config: Model, vocab_size: int):
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.causal = config.causal
        self.recompute = False  # recompute the blocks in the backward pass to save memory
        self.embedding = nn.Embedding(vocab_size, config.n_embd)
        learned = config.position == "learned"
        self.position = nn.Embedding(config.block_size, config.n_embd) if learned else None
        self.norm0 = Norm(config) if config.norm_embedding else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        rotary = None if learned else Rotary(config)  # shared by all blocks: its tables are large
        self.blocks = nn.ModuleList(Block(config, rotary) for _ in range(config.n_layer))
        self.norm = Norm(config)
        tied = {"device": "meta"} if config.tied else {}  # the weight is replaced below
        self.head = nn.Linear(config.n_embd, vocab_size, bias=False, **tied)
        if config.tied:
            self.head.weight = self.embedding.weight
        self._initialise()

    def hidden(
        self,
        idx: Tensor,
        documents: Tensor | None = None,
        cache: Cache | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Return the residual stream after the final norm, (B, T, C), for ids `idx`, (B, T).

        `documents`, (B, T), is the number of each position's document, in runs of equal numbers.
        A position attends only to its own document, whose first token is at position 0. With a
        key-value cache, `idx` continues the cached tokens. `noise` is described in `enter`.
        Raises ValueError for more than `block_size` tokens, and for a cache with a model that is
        not causal: there, every new token changes the states of the tokens before it.
        """
        view = self.view(idx, documents, cache)
        hidden = self.norm(self.through(self.enter(idx, view, noise), view))
        if cache is not None:
            cache.used += idx.size(1)
        return hidden

    def view(
        self, idx: Tensor, documents: Tensor | None = None, cache: Cache | None = None
    ) -> View:
        """Return what each position attends to; arguments and errors are those of `hidden`."""
        if cache is not None and not self.causal:
            raise ValueError("a model that is not causal reads a text as a whole, without a cache")
        t, before = idx.size(1), 0 if cache is None else cache.used
        if before + t > self.config.block_size:
            raise ValueError(f"{before + t} tokens, but the context holds {self.config.block_size}")
        if documents is not None:
            return View(within(documents, self.causal), places_in(documents))
        if cache is not None:
            return View(cache.mask(t), cache.places(t), cache)
        return View()

    def enter(self, idx: Tensor, view: View, noise: Tensor | None = None) -> Tensor:
        """Return the residual stream before the first block, (B, T, C), for ids `idx`, (B, T).

        In training mode, uniform noise in [-noise, noise] is added to each number of a position's
        embedding; `noise`, (B, T), gives the bound of each position.
        """
        x = self.embedding(idx)  # (B, T, C)
        if noise is not None and self.training:
            x = x + noise[..., None] * torch.empty_like(x).uniform_(-1, 1)
        if self.position is not None:
            counted = torch.arange(idx.size(1), device=idx.device)
            x = x + self.position(counted if view.places is None else view.places)
        return self.dropout(self.norm0(x))

    def through(self, x: Tensor, view: View, first: int = 0, end: int | None = None) -> Tensor:
        """Apply the blocks from `first` up to but not including `end` to x, (B, T, C)."""
        for block in self.blocks[first:end]:
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, view, use_reentrant=False)
            else:
                x = block(x, view)
        return x

    def forward(
        self,
        idx: Tensor,
        at: Tensor | None = None,
        documents: Tensor | None = None,
        targets: Tensor | None = None,
        cache: Cache | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Return logits (B, T, V), or (N, V) at the N positions where the mask `at`, (B, T), is
        true.

        With `targets`, (B, T) or (N,), return the sum of their cross-entropies in nats instead.
        `documents` and `cache` are described in `hidden`, `noise` in `enter`.
        """
        hidden = self.hidden(idx, documents, cache, noise)
        hidden = hidden if at is None else hidden[at]
        if targets is None:
            return self.head(hidden)
        return cross_entropy(hidden, self.head.weight, targets)

    def look_both_ways(self) -> None:
        """Remove the causal mask: every token attends to the whole text."""
        self.causal = False
        for module in self.modules():
            if isinstance(module, Attention):
                module.causal = False

    def switch_off_dropout(self) -> bool:
        """Set every dropout to 0, an adapter's too, and return whether any was above."""
        found = False
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                found, module.p = found or module.p > 0, 0.0
            elif isinstance(module, Attention):
                found, module.dropout = found or module.dropout > 0, 0.0
        return found

    def _initialise(self) -> None:
        """Initialise the weights. With a tied head as GPT-2: normal with standard deviation 0.02,
        residual outputs scaled by depth. With an untied head: uniform by fan-in, residual outputs
        zero.
        """
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                continue
            residual = name.endswith(("attention.out.weight", "mlp.down.weight"))
            if self.config.tied:
                depth = (2 * self.config.n_layer) ** -0.5 if residual else 1.0
                nn.init.normal_(parameter, std=INIT_STD * depth)
            elif residual:
                nn.init.zeros_(parameter)
            elif name == "embedding.weight" or name == "position.weight":
                nn.init.normal_(parameter, std=1.0 if self.config.norm_embedding else INIT_STD)
            elif name == "head.weight":
                nn.init.normal_(parameter, std=0.001)
            else:
                bound = (3.0 / parameter.size(1)) ** 0.5
                nn.init.uniform_(parameter, -bound, bound)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)


def twin(model: Transformer) -> Transformer:
    """Return a copy of the model that shares its weights. Replacing a submodule of one model does
    not change the other.
    """
    weights = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(weight): weight for weight in weights})


def within(documents: Tensor, causal: bool) -> Tensor:
    """Return the attention mask, (B, 1, T, T), that keeps each position within its document,
    (B, T), and, if causal, to positions up to its own.
    """
    same = documents[:, None, :, None] == documents[:, None, None, :]
    return same.tril() if causal else same


def places_in(documents: Tensor) -> Tensor:
    """Return the position of each token in its document, (B, T)."""
    row = torch.arange(documents.size(1), device=documents.device).expand_as(documents)
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return row - row.masked_fill(~begins, 0).cummax(dim=1).values
