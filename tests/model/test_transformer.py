"""The decoder: shapes, causality and its absence, documents, heads, determinism."""

import pytest
import torch
import torch.nn.functional as F

from llmill.model import heads
from llmill.model.comparison import FIGURES
from llmill.model.heads import ClassModel, ScoreModel, freeze
from llmill.model.settings import Model
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
NOT_CAUSAL = pytest.mark.parametrize(
    "config",
    [config.model_copy(update={"causal": False}) for config in (GPT2, MODERN, LLAMA)],
    ids=["gpt2", "modern", "llama"],
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
    loss = F.cross_entropy(logits[0], torch.arange(12))
    torch.testing.assert_close(loss, torch.log(torch.tensor(50.0)), atol=0.05, rtol=0)


def test_dropout_works_in_attention_behind_each_part_and_on_the_embedding(monkeypatch):
    made = model(GPT2.model_copy(update={"dropout": 0.5}))
    inside, behind = [], []
    attend = F.scaled_dot_product_attention

    def attended(*words, dropout_p, **names):
        inside.append(dropout_p)
        return attend(*words, dropout_p=dropout_p, **names)

    monkeypatch.setattr(F, "scaled_dot_product_attention", attended)
    for module in made.modules():
        if isinstance(module, torch.nn.Dropout):
            module.register_forward_hook(lambda module, *_: behind.append(module.p))
    made.train()(torch.arange(12)[None])
    assert inside == [0.5] * 2  # of each block
    assert behind == [0.5] * (1 + 2 * 2)
    made.eval()(torch.arange(12)[None])
    assert inside == [0.5] * 2 + [0.0] * 2


def test_the_outputs_of_a_tied_model_begin_the_smaller_the_deeper_it_is():
    torch.manual_seed(0)
    wide = {"n_embd": 128, "mlp_hidden": 512, "n_layer": 8}
    block = Transformer(GPT2.model_copy(update=wide), 50).blocks[0]
    for matrix, std in (
        (block.attention.qkv, 0.02),
        (block.mlp.up, 0.02),
        (block.attention.out, 0.005),  # 0.02 over the root of twice the layers
        (block.mlp.down, 0.005),
    ):
        assert matrix.weight.std().item() == pytest.approx(std, rel=0.05)


def test_rotary_attention_depends_on_distance_alone():
    made = model(MODERN)
    rotary = made.blocks[0].attention.rotary
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    turned_q, turned_k = (rotary(x.expand(1, 1, 12, 8)) for x in (q, k))
    near = (turned_q[0, 0, 3] * turned_k[0, 0, 1]).sum()
    far = (turned_q[0, 0, 9] * turned_k[0, 0, 7]).sum()
    torch.testing.assert_close(near, far)
    other = (turned_q[0, 0, 9] * turned_k[0, 0, 1]).sum()
    assert abs(float(other - near)) > 1e-3


@BLOCKS
def test_logits_asked_for_at_some_positions_are_those_of_all_in_their_order(config):
    made = model(config)
    ids = torch.arange(12).view(2, 6)
    at = torch.tensor([[True, False, True, False, False, True], [False, True] + [False] * 4])
    torch.testing.assert_close(made(ids, at), made(ids)[at])


def test_more_tokens_than_the_context_are_refused():
    with pytest.raises(ValueError, match="13 tokens, but the context holds 12"):
        model(GPT2)(torch.zeros(1, 13, dtype=torch.long))


@pytest.mark.parametrize("causal", [True, False])
@BLOCKS
def test_neither_padding_nor_neighbours_change_the_class(config, causal):
    classifier = ClassModel(model(config.model_copy(update={"causal": causal})), 2)
    texts = [[4, 8, 15], [16, 23, 42, 7, 9], [3]]
    alone = torch.cat([classifier(torch.tensor([ids]), torch.tensor([len(ids)])) for ids in texts])
    for padding in (0, 23):
        batch = torch.tensor([ids + [padding] * (9 - len(ids)) for ids in texts])
        together = classifier(batch, torch.tensor([3, 5, 1]))
        torch.testing.assert_close(together, alone)
    assert not torch.allclose(alone[0], alone[1], atol=1e-3)


@NOT_CAUSAL
def test_a_class_of_a_model_that_is_not_causal_is_read_from_the_mean_of_the_text(config):
    classifier = ClassModel(model(config), 2)
    ids = torch.tensor([[4, 8, 15, 16]])
    expected = classifier.head(classifier.body.hidden(ids).mean(dim=1))
    torch.testing.assert_close(classifier(ids, torch.tensor([4])), expected)


def test_padding_never_changes_the_score():
    scorer = ScoreModel(model(MODERN))
    ids = torch.tensor([[4, 8, 15]])
    alone = scorer(ids, torch.tensor([3]))
    padded = scorer(torch.cat((ids, torch.full((1, 6), 23)), dim=1), torch.tensor([3]))
    torch.testing.assert_close(alone, padded)


def test_the_score_sees_what_the_last_two_parts_have_in_common():
    scorer, lengths = ScoreModel(model(MODERN)), torch.tensor([7])
    ids = torch.tensor([[9, 4, 8, 9, 4, 8, 9]])
    with torch.no_grad():
        scorer.mix.weight.zero_()
        scorer.mix.weight[0, -FIGURES] = 1.0  # whether they are the same
        scorer.head.weight.zero_()
        scorer.head.weight[0, 0] = 1.0
        alike, other = scorer(ids, lengths), scorer(ids.where(ids != 4, 5), lengths)
        different = scorer(torch.tensor([[9, 4, 8, 9, 4, 7, 9]]), lengths)
    assert alike == other == torch.nn.functional.gelu(torch.tensor(1.0))
    assert different == 0


def test_the_score_sees_the_mean_loss_of_the_text_where_the_head_asks_for_it():
    scorer = ScoreModel(model(MODERN))
    ids = torch.tensor([[4, 8, 15, 16]])
    with torch.no_grad():
        scorer.pool.weight.zero_()  # every position alike
        scorer.mix.weight.zero_()
        scorer.mix.weight[0, scorer.body.config.n_embd] = 1.0  # the first average alone
        scorer.head.weight.zero_()
        scorer.head.weight[0, 0] = 1.0
        logits = scorer.knows(ids)[0, :-1]
        expected = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum") / 4
        expected = torch.nn.functional.gelu(expected)
    torch.testing.assert_close(scorer(ids, torch.tensor([4]))[0, 0], expected)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [("last_layer", 32), ("last_block", 32 + 3072), ("all", 32 + 2 * 3072 + 50 * 16)],
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
    assert within(documents, causal=True)[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]
    assert within(documents, causal=False)[0, 0].int().tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


def slow(made: Transformer, ids: list[int], numbers: list[int]) -> torch.Tensor:
    """Logits of a row, (T, V): every position and head by itself, with an explicit softmax over the
    positions whose document has the same number.
    """
    config, size = made.config, made.config.n_embd // made.config.n_head
    place = [numbers[: i + 1].count(n) - 1 for i, n in enumerate(numbers)]
    x = made.embedding.weight[ids]
    if made.position is not None:
        x = x + made.position.weight[place]
    x = made.norm0(x)
    for block in made.blocks:
        attention = block.attention
        rows = attention.qkv(block.norm1(x)).view(len(ids), -1, size)  # (T, H + 2K, D)
        q, k, v = rows.split((config.n_head, config.n_kv_head, config.n_kv_head), dim=1)
        if attention.rotary is not None:
            cos, sin = attention.rotary.cos[place][:, None], attention.rotary.sin[place][:, None]
            q, k = (
                torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)
                for a, b in (each.chunk(2, dim=-1) for each in (q, k))
            )
        if config.qk_norm:
            q, k = (e / (e.square().mean(-1, keepdim=True) + config.norm_epsilon).sqrt() for e in (q, k))  # fmt: skip
        shared = config.n_head // config.n_kv_head
        seen = torch.zeros(len(ids), config.n_head, size)
        for i, number in enumerate(numbers):
            others = [j for j, other in enumerate(numbers) if other == number]
            for head in range(config.n_head):
                scores = k[others, head // shared] @ q[i, head] / size**0.5
                shares = scores.exp() / scores.exp().sum()
                seen[i, head] = shares @ v[others, head // shared]
        x = x + attention.out(seen.flatten(1))
        x = x + block.mlp(block.norm2(x))
    return made.head(made.norm(x))


@pytest.mark.parametrize("recompute", [False, True])
@NOT_CAUSAL
def test_a_model_that_is_not_causal_sees_the_whole_text_as_a_slow_softmax_does(config, recompute):
    made = model(config)
    made.recompute = recompute
    ids = torch.randint(0, 50, (2, 12), generator=torch.Generator().manual_seed(1))
    expected = torch.stack([slow(made, row, [0] * 12) for row in ids.tolist()])
    torch.testing.assert_close(made(ids), expected, atol=1e-5, rtol=0)
    documents = torch.tensor([[7] * 5 + [3] * 1 + [4] * 6, [0] * 9 + [-1] * 3])
    expected = torch.stack(
        [slow(made, row, number) for row, number in zip(ids.tolist(), documents.tolist(), strict=True)]
    )  # fmt: skip
    torch.testing.assert_close(made(ids, documents=documents), expected, atol=1e-5, rtol=0)


@NOT_CAUSAL
def test_a_model_that_is_not_causal_sees_what_comes_later_and_never_another_document(config):
    made = model(config)
    ids, documents = torch.arange(12)[None], torch.tensor([[1] * 6 + [2] * 6])
    changed = ids.clone()
    changed[0, 11] = 40
    assert (made(ids) - made(changed)).abs().amax(dim=-1).min() > 1e-4  # of every position
    before, after = made(ids, documents=documents), made(changed, documents=documents)
    assert torch.equal(before[:, :6], after[:, :6])
    assert (before - after)[:, 6:].abs().amax(dim=-1).min() > 1e-4


def test_a_judge_of_many_logits_reads_a_few_rows_at_a_time_and_scores_alike(monkeypatch):
    scorer = ScoreModel(model(MODERN)).eval()
    idx, lengths = torch.randint(0, 50, (6, 7)), torch.tensor([7, 3, 7, 2, 5, 1])
    whole = scorer(idx, lengths)
    sizes, of_rows = [], scorer.knows.forward
    monkeypatch.setattr(
        scorer.knows, "forward", lambda rows: sizes.append(len(rows)) or of_rows(rows)
    )
    monkeypatch.setattr(heads, "LOGITS", 2 * 7 * 50)
    torch.testing.assert_close(scorer(idx, lengths), whole)
    assert sizes == [2, 2, 2]
