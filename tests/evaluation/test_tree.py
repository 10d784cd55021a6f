"""A text is read in a tree as it is read alone, and what texts share is read once."""

import random

import pytest
import torch

from llmill.evaluation.inference import tree
from llmill.model.settings import Model
from llmill.model.transformer import Transformer
from tests.evaluation.toys import SHAPE, decoder


def modern() -> Transformer:
    """Rotary positions, and fewer heads of keys and values than of queries."""
    torch.manual_seed(3)
    changes = {
        "position": "rotary",
        "n_head": 4,
        "n_kv_head": 2,
        "norm": "rmsnorm",
        "mlp": "swiglu",
    }
    model = Transformer(Model(**{**SHAPE.model_dump(), **changes, "bias": False}), 257).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def branching(n: int, seed: int = 0) -> list[list[int]]:
    """Texts that share beginnings of every length, some with another as their beginning."""
    rng = random.Random(seed)
    texts = [[rng.randrange(257) for _ in range(rng.randint(1, 30))]]
    for _ in range(n - 1):
        stem = rng.choice(texts)
        kept = stem[: rng.randint(0, len(stem))]
        texts.append(kept + [rng.randrange(257) for _ in range(rng.randint(1, 20))])
    return [text[:60] for text in texts]


class Counting(torch.nn.Module):
    """A model that notes how many tokens each pass reads."""

    def __init__(self, model):
        super().__init__()
        self.model, self.read = model, []
        self.norm, self.through = model.norm, model.through

    def enter(self, idx, view):
        self.read.append(idx.size(1))
        return self.model.enter(idx, view)


@torch.inference_mode()
def read(model, texts, ends, batch_size):
    """The stream at the end of each text, and the passes."""
    found, passes = {}, []
    packed = [tree.text(text) for text in texts]
    for numbers, stream, places in tree.read(model, packed, ends, batch_size):
        passes.append(numbers)
        found |= {i: stream[own] for i, own in zip(numbers, places, strict=True)}
    return [found[i] for i in range(len(texts))], passes


@pytest.mark.parametrize("make", [decoder, modern])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_each_text_is_read_as_if_it_stood_alone(monkeypatch, make, batch_size):
    monkeypatch.setattr(tree, "TOKENS", 80)  # so that a tree is cut, and its beginning kept
    model, texts = make(), branching(60)
    rng = random.Random(1)
    ends = [rng.randint(1, min(5, len(text))) for text in texts]
    found, passes = read(model, texts, ends, batch_size)
    assert sorted(i for numbers in passes for i in numbers) == list(range(60))
    assert max(map(len, passes)) <= batch_size
    with torch.inference_mode():
        for text, n, stream in zip(texts, ends, found, strict=True):
            alone = model.hidden(torch.tensor([text]))[0, -n:]
            torch.testing.assert_close(stream, alone, atol=1e-5, rtol=0)


def test_what_texts_share_is_read_once():
    model = Counting(decoder(block_size=64))
    stem = list(range(40))
    read(model, [[*stem, i, i] for i in range(10)], [1] * 10, 64)
    assert model.read == [40 + 10 * 2]


def test_also_by_later_passes_which_keep_the_beginning_of_the_one_before():
    model = Counting(decoder(block_size=64))
    stem = list(range(40))
    _, passes = read(model, [[*stem, i, i] for i in range(10)], [1] * 10, 4)
    assert passes == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert model.read == [40 + 4 * 2, 4 * 2, 2 * 2]


def test_an_end_that_is_asked_for_is_not_kept_unread():
    model = Counting(decoder(block_size=64))
    stem = list(range(20))
    found, _ = read(model, [stem, [*stem, 7], [*stem, 8]], [3, 1, 21], 1)
    assert [len(each) for each in found] == [3, 1, 21]


def test_texts_go_in_the_order_of_their_ids():
    assert sorted([tree.text([300]), tree.text([2, 9]), tree.text([2])]) == [
        tree.text([2]),
        tree.text([2, 9]),
        tree.text([300]),
    ]
    assert tree.ids(tree.text([2, 300, 70000])).tolist() == [2, 300, 70000]
