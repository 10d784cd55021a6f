"""Small real models and a tokenizer whose ids are bytes: id 65 is "A", 256 is the end of text."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from llmill.model.heads import ClassModel, ScoreModel
from llmill.model.settings import Model
from llmill.model.transformer import Transformer
from llmill.text.tokenization import shards
from llmill.text.tokenization.shards import Shards
from llmill.text.tokenization.tokenizer import Tokenizer

SHAPE = Model(
    n_layer=2, n_head=2, n_kv_head=2, n_embd=16, block_size=64, causal=True, norm="layernorm", norm_weight=True,
    norm_embedding=False, position="learned", rotary_base=10000.0, rotary_scaling=None, norm_epsilon=1e-5, mlp="gelu", mlp_hidden=32,
    qk_norm=False, bias=True, dropout=0.0, tied=True,
)  # fmt: skip

# SmolLM2-Instruct's own template: ChatML, with a system message where there is none.
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def bytes_tokenizer() -> Tokenizer:
    return Tokenizer({bytes([b]): b for b in range(256)})


def shards_of(folder: Path, texts: Sequence[str], sources: Sequence[str] | None = None) -> Shards:
    """Texts in bytes as a folder of shards, opened."""
    folder.mkdir(parents=True, exist_ok=True)
    entry = shards.write(folder, "0", texts, bytes_tokenizer(), sources)
    shards.write_index(folder, 257, [entry])
    return Shards.load(folder)


def alpaca_prompt(text: str) -> list[int]:
    """What an assistant of Alpaca's template reads of a text in a first turn."""
    return [
        256,
        *b"Below is an instruction that describes a task. "
        b"Write a response that appropriately completes the request.\n\n### Instruction:\n",
        *text.encode(),
        *b"\n\n### Response:\n",
    ]


def masked(seed: int = 0) -> Transformer:
    """A random masked model, whose mask is id 257."""
    return decoder(seed, causal=False)


def decoder(seed: int = 0, block_size: int = 64, causal: bool = True) -> Transformer:
    """A random decoder whose logits differ by whole units, as a trained one's do."""
    torch.manual_seed(seed)
    shape = SHAPE.model_copy(update={"block_size": block_size, "causal": causal})
    model = Transformer(shape, 257 if causal else 258).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def headed(n_class: int, seed: int = 0, block_size: int = 64) -> ClassModel | ScoreModel:
    """A random class head on a random decoder, or of one class a score head."""
    body = decoder(seed, block_size)
    return (ScoreModel(body) if n_class == 1 else ClassModel(body, n_class)).eval()


def bigram(likes: dict[str, str], block_size: int = 64) -> Transformer:
    """A decoder that looks at the last byte only. Behind each character of `likes`, and behind ""
    for the end of the text, one byte has probability 1/2, every other 1/512: a bit, or nine. All
    are as likely behind others.
    """
    width = 257
    small = {"n_layer": 1, "n_head": 1, "n_kv_head": 1, "n_embd": width, "bias": False}
    plain = {"norm": "rmsnorm", "norm_weight": False, "norm_epsilon": 1e-12, "tied": False}
    shape = SHAPE.model_copy(update={**small, **plain, "block_size": block_size})
    model = Transformer(shape, width).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.embedding.weight.copy_(torch.eye(width))
        for before, after in likes.items():
            first, second = (ord(c) if c else 256 for c in (before, after))
            model.head.weight[second, first] = math.log(256) / math.sqrt(width)
    return model


class Bigram(torch.nn.Module):
    """A decoder that looks at the last byte only and likes the given pairs of characters."""

    def __init__(self, likes, block_size=64):
        super().__init__()
        self.config = SHAPE.model_copy(update={"block_size": block_size})
        self.table = torch.nn.Parameter(torch.zeros(257, 257))
        self.norm, self.head = torch.nn.Identity(), torch.nn.Linear(257, 257, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(257))
            for first, second in likes:
                self.table[ord(first), ord(second)] = 5.0

    def enter(self, idx, view):
        assert int(view.places.max()) < self.config.block_size
        return self.table[idx]

    def through(self, x, view):
        return x
