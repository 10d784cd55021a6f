"""Findings of GPT-2 speedruns that are newer than the world preset's block, as changes of llmill's
transformer. Each has its own switch, and none changes the model's initial weights.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmill.model.cross_entropy import IGNORE
from llmill.model.settings import Model
from llmill.model.transformer import Attention, Transformer, View
from llmill.training.muon import Muon, orthogonalised


@dataclass(frozen=True)
class Additions:
    """Switches of a model in addition to those of its preset."""

    value_embeddings: bool = False  # a table of values for each token, in every other block
    head_gates: bool = False  # multiply each head's output by a sigmoid of the block's input
    qk_gain: bool = False  # a trained factor of each head's logits, for normalised q and k
    first_stream: bool = False  # each block reads a trained mix of its stream and the embedding
    smear: bool = False  # add a trained share of the embedding of the token before
    soft_cap: float | None = None  # logits x -> cap * tanh(x / cap)
    z_loss: float = 0.0  # factor of the squared log of the softmax's denominator, in training


class VariedAttention(nn.Module):
    """llmill's attention with additions, for training only, without a key-value cache."""

    value: Tensor | None = None  # (B, T, K * D): value embeddings of the present tokens

    def __init__(self, attention: Attention, additions: Additions, width: int, looks_up: bool):
        super().__init__()
        self.inner = attention
        heads = attention.n_head
        self.mix = nn.Parameter(torch.tensor([0.5, 0.5])) if looks_up else None
        self.gain = nn.Parameter(torch.ones(heads, 1, 1)) if additions.qk_gain else None
        # In a tuple, so that gates are not parameters of the blocks, whose matrices use Muon.
        self.gate = (nn.Linear(width, heads, bias=False),) if additions.head_gates else ()
        for gate in self.gate:
            nn.init.zeros_(gate.weight)

    def forward(self, x: Tensor, view: View) -> Tensor:
        """Map x, (B, T, C), to (B, T, C), as `Attention` does."""
        inner = self.inner
        b, t, c = x.shape
        heads = inner.qkv(x).view(b, t, -1, inner.size).transpose(1, 2)  # (B, H + 2K, T, D)
        q, k, v = heads.split((inner.n_head, inner.n_kv_head, inner.n_kv_head), dim=1)
        if self.mix is not None and self.value is not None:
            own, looked_up = self.mix
            v = own * v + looked_up * self.value.view(b, t, -1, inner.size).transpose(1, 2)
        if inner.rotary is not None:
            q, k = inner.rotary(q, view.places), inner.rotary(k, view.places)
        if inner.qk_norm:
            q, k = (F.rms_norm(each, (inner.size,), None, inner.epsilon) for each in (q, k))
        if self.gain is not None:
            q = q * self.gain
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=view.mask, is_causal=inner.causal and view.mask is None,
            enable_gqa=inner.n_kv_head != inner.n_head,
        )  # fmt: skip
        for gate in self.gate:
            y = y * gate(x).sigmoid().transpose(1, 2)[..., None]
        return inner.out(y.transpose(1, 2).reshape(b, t, c))


class Varied(Transformer):
    """llmill's transformer with additions. With the same seed, its initial weights are those of the
    transformer without additions, because additions are made afterwards.
    """

    def __init__(self, config: Model, vocab_size: int, additions: Additions):
        super().__init__(config, vocab_size)
        self.additions = additions
        width = config.n_kv_head * config.n_embd // config.n_head
        self.tables = nn.ModuleDict()
        self.gates = nn.ModuleList()
        for number, block in enumerate(self.blocks):
            looks_up = additions.value_embeddings and number % 2 == 1
            varied = VariedAttention(block.attention, additions, config.n_embd, looks_up)
            block.attention = varied
            self.gates.extend(varied.gate)
            if looks_up:
                self.tables[str(number)] = nn.Embedding(vocab_size, width)
        parts = torch.tensor([[1.0, 0.0]] * config.n_layer)
        self.parts = nn.Parameter(parts) if additions.first_stream else None
        self.smeared = nn.Parameter(torch.zeros(())) if additions.smear else None

    def enter(self, idx: Tensor, view: View, noise: Tensor | None = None) -> Tensor:
        for number, table in self.tables.items():
            self.blocks[int(number)].attention.value = table(idx)
        x = super().enter(idx, view, noise)
        if self.smeared is not None:
            x = torch.cat((x[:, :1], x[:, 1:] + self.smeared * x[:, :-1]), dim=1)
        return x

    def through(self, x: Tensor, view: View, first: int = 0, end: int | None = None) -> Tensor:
        if self.parts is None:
            return super().through(x, view, first, end)
        begun = x
        for block, (own, of_first) in zip(self.blocks, self.parts, strict=True):
            x = block(own * x + of_first * begun, view)
        return x

    def forward(self, idx: Tensor, *args: object, targets: Tensor | None = None) -> Tensor:
        """Return the summed loss of `targets`, (B, T), as `Transformer` does, for windows only."""
        cap, z_loss = self.additions.soft_cap, self.additions.z_loss
        if targets is None or (cap is None and not z_loss):
            return super().forward(idx, *args, targets=targets)
        logits = self.head(self.hidden(idx)).float().flatten(0, 1)  # (B * T, V)
        if cap is not None:
            logits = cap * torch.tanh(logits / cap)
        targets = targets.flatten()
        loss = F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum")
        if z_loss and self.training:
            loss = loss + z_loss * logits[targets != IGNORE].logsumexp(dim=-1).square().sum()
        return loss


class SeparateMuon(Muon):
    """Muon that treats queries, keys and values, (3 C, C), as three matrices."""

    @torch.no_grad()
    def _move(self, params: list[Tensor], group: dict) -> None:
        rows, cols = params[0].shape
        if rows != 3 * cols:
            return super()._move(params, group)
        directions = self._directions(params, group["momentum"], group["nesterov"])
        whole = torch.stack(directions).view(-1, cols, cols)
        updates = orthogonalised(whole, group["steps"]).view(-1, rows, cols)
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(params, list(updates), alpha=-group["lr"])
        return None
