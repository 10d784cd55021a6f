"""The decoder: shapes, causality, parameter counts of published models, determinism."""

import pytest
import torch

from llmill.contract.schema import Model
from llmill.model.heads import ClassModel, ScoreModel, freeze
from llmill.model.transformer import Transformer, places_in, within

GPT2 = Model(
    n_layer=2, n_head=2, n_kv_head=2, n_embd=16, block_size=12, causal=True, norm="layernorm", norm_weight=True,
    norm_embedding=False, position="learned", rotary_base=10000.0, rotary_scaling=None, norm_epsilon=1e-5, mlp="gelu", mlp_hidden=64,
    qk_norm=False, bias=True, dropout=0.0, tied=True,
)  # fmt: skip
MODERN = GPT2.model_copy(
    update={
        "norm": "rmsnorm", "norm_weight": False, "norm_embedding": True, "position": "rotary",
        "mlp": "relu2", "qk_norm": True, "bias": False, "tied": False,
    }
)  # fmt: skip
LLAMA = MODERN.model_copy(
    update={
        "norm_weight": True,
        "norm_embedding": False,
        "mlp": "swiglu",
        "qk_norm": False,
        "n_kv_head": 1,
    }
)
BLOCKS = pytest.mark.parametrize("config", [GPT2, MODERN, LLAMA], ids=["gpt2", "modern", "llama"])


def model(config: Model, seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    made = Transformer(config, 50).eval()
    with torch.no_grad():  # projections that begin at zero would hide what attention does
        for p in made.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return made


@BLOCKS
def test_a_later_token_never_changes_an_earlier_logit(config):
    idx = torch.randint(0, 50, (1, 12), generator=torch.Generator().manual_seed(1))
    changed = idx.clone()
    changed[0, 8] = (changed[0, 8] + 1) % 50
    before, after = model(config)(idx), model(config)(changed)
    torch.testing.assert_close(before[:, :8], after[:, :8])
    assert not torch.allclose(before[:, 8:], after[:, 8:])


@BLOCKS
def test_the_order_of_earlier_tokens_matters(config):
    made = model(config)
    one, other = made(torch.tensor([[3, 7, 9]])), made(torch.tensor([[7, 3, 9]]))
    assert not torch.allclose(one[:, -1], other[:, -1])


@BLOCKS
def test_the_same_seed_gives_the_same_weights(config):
    one, two = model(config).state_dict(), model(config).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_an_untrained_model_guesses_evenly():
    torch.manual_seed(0)
    logits = Transformer(MODERN, 50)(torch.arange(12)[None])
    loss = torch.nn.functional.cross_entropy(logits[0], torch.arange(12))
    torch.testing.assert_close(loss, torch.log(torch.tensor(50.0)), atol=0.05, rtol=0)


def test_rotary_attention_depends_on_distance_alone():
    made = model(MODERN)
    rotary = made.blocks[0].attention.rotary
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    turned_q, turned_k = (rotary(x.expand(1, 1, 12, 8)) for x in (q, k))
    near = (turned_q[0, 0, 3] * turned_k[0, 0, 1]).sum()
    far = (turned_q[0, 0, 9] * turned_k[0, 0, 7]).sum()
    torch.testing.assert_close(near, far)


@BLOCKS
def test_logits_asked_for_at_some_positions_are_those_of_all_in_their_order(config):
    made = model(config)
    ids = torch.arange(12).view(2, 6)
    at = torch.tensor([[True, False, True, False, False, True], [False, True] + [False] * 4])
    torch.testing.assert_close(made(ids, at), made(ids)[at])


def test_more_tokens_than_the_context_are_refused():
    with pytest.raises(ValueError, match="13 tokens, but the context holds 12"):
        model(GPT2)(torch.zeros(1, 13, dtype=torch.long))


def test_padding_never_changes_the_class():
    classifier = ClassModel(model(MODERN), 2)
    ids = torch.tensor([[4, 8, 15]])
    alone = classifier(ids, torch.tensor([3]))
    padded = classifier(torch.cat((ids, torch.full((1, 6), 23)), dim=1), torch.tensor([3]))
    torch.testing.assert_close(alone, padded)


def test_padding_never_changes_the_score():
    scorer = ScoreModel(model(MODERN))
    ids = torch.tensor([[4, 8, 15]])
    alone = scorer(ids, torch.tensor([3]))
    padded = scorer(torch.cat((ids, torch.full((1, 6), 23)), dim=1), torch.tensor([3]))
    torch.testing.assert_close(alone, padded)


def test_the_score_sees_the_mean_loss_of_the_text_where_the_head_asks_for_it():
    scorer = ScoreModel(model(MODERN))
    ids = torch.tensor([[4, 8, 15, 16]])
    with torch.no_grad():
        scorer.pool.weight.zero_()  # every position alike
        scorer.head.weight.zero_()
        scorer.head.weight[0, -1] = 1.0
        logits = scorer.knows(ids)[0, :-1]
        expected = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum") / 4
    torch.testing.assert_close(scorer(ids, torch.tensor([4]))[0, 0], expected)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [("last_layer", 34), ("last_block", 34 + 3072), ("all", 34 + 2 * 3072 + 50 * 16)],
)
def test_a_variant_trains_exactly_its_part(variant, expected):
    classifier = ClassModel(model(MODERN), 2)
    freeze(classifier, variant)
    assert sum(p.numel() for p in classifier.parameters() if p.requires_grad) == expected


@pytest.mark.parametrize("recompute", [False, True])
@BLOCKS
def test_masked_documents_give_the_logits_of_each_document_alone(config, recompute):
    made = model(config)
    made.recompute = recompute
    ids = torch.randint(0, 50, (2, 12), generator=torch.Generator().manual_seed(1))
    documents = torch.tensor([[7] * 5 + [3] * 1 + [4] * 6, [0] * 9 + [-1] * 3])
    together = made(ids, documents=documents)
    for row, begin, end in ((0, 0, 5), (0, 5, 6), (0, 6, 12), (1, 0, 9)):
        alone = made(ids[row : row + 1, begin:end])
        torch.testing.assert_close(together[row, begin:end], alone[0], atol=1e-5, rtol=0)
    assert not torch.allclose(together[0, 6:], made(ids)[0, 6:], atol=1e-3)


@BLOCKS
def test_a_row_of_one_document_is_the_same_masked_or_not(config):
    made = model(config)
    ids = torch.arange(12)[None]
    masked = made(ids, documents=torch.full((1, 12), 5))
    torch.testing.assert_close(masked, made(ids), atol=1e-5, rtol=0)


def test_gradients_stay_within_documents_too():
    made = model(GPT2)
    ids, documents = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[0, 0, 1, 1]])
    at = torch.tensor([[False, False, True, True]])
    made(ids, at, documents).square().sum().backward()
    reached = made.blocks[0].attention.qkv.weight.grad
    made.zero_grad()
    made(ids[:, 2:]).square().sum().backward()
    torch.testing.assert_close(reached, made.blocks[0].attention.qkv.weight.grad)


def test_positions_and_masks_of_documents_are_the_expected_ones():
    documents = torch.tensor([[4, 4, 9, 9, 9, -1]])
    assert places_in(documents).tolist() == [[0, 1, 0, 1, 2, 0]]
    assert within(documents)[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]
