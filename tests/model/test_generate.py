"""Generation against a slow reference: one row, one full forward pass a token."""

import math

import pytest
import torch
import torch.nn.functional as F

from llmill.model.cache import Cache
from llmill.model.generate import Choice, Writer, choose, generate, generate_with_ends
from llmill.model.packed import FBGEMM, HalfLinear, PackedLinear, packed
from tests.model.test_transformer import BLOCKS, LLAMA, MODERN, model

END = 0
LINEAR = F.linear


def slow(made, ids, count, end=END):
    new = []
    for _ in range(count):
        window = torch.tensor([(ids + new)[-made.config.block_size :]])
        token = int(made(window)[0, -1].argmax())
        if token == end:
            break
        new.append(token)
    return new


@BLOCKS
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("large", [0, 2**30], ids=["packed", "plain"])
def test_a_batch_of_any_lengths_gives_what_each_prompt_gives_alone(
    config, cached, large, monkeypatch
):
    monkeypatch.setattr("llmill.model.packed.LARGE", large)
    made = model(config.model_copy(update={"block_size": 24}))
    prompts = [[5], [7, 8, 9, 10], [11, 3], list(range(1, 12))]
    together = generate(made, prompts, max_new_tokens=13, end_of_text=END, cached=cached)
    assert together == [slow(made, ids, 13) for ids in prompts]


def test_any_of_several_ends_ends_a_text():
    made = model(MODERN)
    whole = slow(made, [5], 12)
    second = whole[3]
    (text,) = generate(made, [[5]], max_new_tokens=12, end_of_text=END, ends={END, second})
    assert text == whole[: whole.index(second)]
    (text,) = generate_with_ends(made, [[5]], 12, {END, second})
    assert text == whole[: whole.index(second) + 1]


def test_each_step_reads_one_token_a_text_and_anew_what_the_context_cannot_hold():
    made, read = model(MODERN), []
    made.register_forward_pre_hook(lambda _, args: read.append(tuple(args[0].shape)))
    generate(made, [[5], [7, 8, 9]], max_new_tokens=12, end_of_text=-1)
    assert read == [(2, 3), *[(2, 1)] * 9, (1, 1), (1, 12), (1, 1), (1, 12)]


@BLOCKS
def test_texts_that_fill_the_context_on_the_way_go_on(config):
    made = model(config)
    prompts = [[5], [7, 8, 9, 10, 11, 12, 13, 14], [3, 2]]
    together = generate(made, prompts, max_new_tokens=20, end_of_text=END)
    assert together == [slow(made, ids, 20) for ids in prompts]


def test_rows_that_end_early_leave_the_others_alone():
    made = model(LLAMA)
    prompts = [[i] for i in range(1, 30)]
    every = [token for ids in prompts for token in slow(made, ids, 10, end=None)]
    end = max(set(every), key=every.count)
    wanted = [slow(made, ids, 10, end) for ids in prompts]
    assert len({len(ids) for ids in wanted}) > 2
    assert generate(made, prompts, max_new_tokens=10, end_of_text=end) == wanted


def chosen(logits: list[float], text=(), **choice) -> set[int]:
    """Every token that can be drawn."""
    random = torch.Generator().manual_seed(1)
    row = torch.tensor(logits)
    return {choose(row, list(text), Choice(**choice), random) for _ in range(400)}


LOGITS = [float(torch.tensor(p).log()) for p in (0.5, 0.25, 0.15, 0.1)]


@pytest.mark.parametrize(
    ("choice", "possible"),
    [
        ({"temperature": 0.0}, {0}),
        ({"temperature": 1.0}, {0, 1, 2, 3}),
        ({"temperature": 1.0, "top_k": 2}, {0, 1}),
        ({"temperature": 1.0, "top_p": 0.5}, {0}),
        ({"temperature": 1.0, "top_p": 0.6}, {0, 1}),
        ({"temperature": 1.0, "top_p": 0.8}, {0, 1, 2}),
        ({"temperature": 1.0, "min_p": 0.4}, {0, 1}),
        ({"temperature": 1.0, "min_p": 0.25}, {0, 1, 2}),
        ({"temperature": 1.0, "top_k": 3, "min_p": 0.1}, {0, 1, 2}),
        ({"temperature": 0.01}, {0}),
    ],
)
def test_limits_leave_the_tokens_that_they_name(choice, possible):
    assert chosen(LOGITS, **choice) == possible


def test_a_token_is_drawn_from_the_softmax_of_the_logits_over_the_temperature(monkeypatch):
    seen, draw = [], torch.multinomial

    def drawn(likely, *words, **names):
        seen.append(likely)
        return draw(likely, *words, **names)

    monkeypatch.setattr(torch, "multinomial", drawn)
    row = torch.tensor(LOGITS)
    choose(row, [], Choice(temperature=2.0), torch.Generator().manual_seed(1))
    torch.testing.assert_close(seen, [(row / 2).softmax(dim=-1)])


def test_a_repetition_penalty_makes_tokens_of_the_text_less_likely():
    assert chosen([2.0, 1.5, -1.0], text=[0], repetition_penalty=2.0) == {1}
    assert chosen([2.0, 1.5, -1.0], text=[0, 1], repetition_penalty=2.0) == {0}
    assert chosen([-2.0, -1.5], text=[1], repetition_penalty=2.0) == {0}


def test_a_text_longer_than_the_context_goes_on_from_its_last_tokens():
    made = model(MODERN)
    long = list(range(1, 31))
    assert generate(made, [long], max_new_tokens=5, end_of_text=END) == [slow(made, long, 5)]


def test_sampling_repeats_with_its_seed_and_leaves_the_random_state_alone():
    made = model(MODERN)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    settings = {
        "max_new_tokens": 8,
        "end_of_text": END,
        "choice": Choice(temperature=1.0, top_k=10),
    }
    one = generate(made, [[1, 2]], seed=3, **settings)
    assert torch.equal(torch.rand(1), expected)
    assert one == generate(made, [[1, 2]], seed=3, **settings)
    assert one != generate(made, [[1, 2]], seed=4, **settings)


def test_equal_prompts_of_a_batch_have_random_numbers_of_their_own():
    made, hot = model(MODERN), Choice(temperature=1.0)
    settings = {"max_new_tokens": 8, "end_of_text": END, "choice": hot}
    first, second = generate(made, [[1, 2], [1, 2]], seed=3, **settings)
    assert first != second
    assert [second] == generate(made, [[1, 2]], seed=4, **settings)


@pytest.mark.parametrize("cached", [True, False])
def test_a_model_that_is_not_causal_goes_on_with_nothing(cached):
    made = model(MODERN.model_copy(update={"causal": False}))
    with pytest.raises(ValueError, match="not causal reads a text as a whole, without a cache"):
        generate(made, [[1, 2]], max_new_tokens=3, end_of_text=END, cached=cached)


def test_an_empty_prompt_begins_a_document():
    made = model(MODERN)
    assert generate(made, [[]], max_new_tokens=3, end_of_text=END) == [slow(made, [END], 3)]


SAMPLED = Choice(temperature=1.0)


def alone(made, ids, choice, seed, count):
    """What a text becomes with nobody beside it, read anew at every step."""
    writer = Writer(made, cached=False)
    number = writer.begin(ids, choice, seed)
    return [writer.step()[number].token for _ in range(count)]


@BLOCKS
def test_texts_join_and_leave_between_steps_and_none_notices_the_others(config):
    made = model(config.model_copy(update={"block_size": 24}))
    coming = {0: [([5, 6, 7], 1)], 2: [([9], 2), (list(range(1, 16)), 3)], 5: [([4, 4], 1)]}
    staying = [9, 4, 12, 8]  # steps of each text
    writer, found, prompts = Writer(made), {}, {}
    for turn in range(16):
        for ids, seed in coming.get(turn, []):
            number = writer.begin(ids, SAMPLED, seed)
            found[number], prompts[number] = [], (ids, seed)
        for number, drawn in writer.step().items():
            found[number].append(drawn.token)
        for number, steps in zip(list(found), staying, strict=False):
            if len(found[number]) == steps:
                writer.end(number)
                found[number].append(-1)
    assert writer.step() == {}
    for (ids, seed), steps, new in zip(prompts.values(), staying, found.values(), strict=True):
        assert new == [*alone(made, ids, SAMPLED, seed, steps), -1]


@BLOCKS
def test_a_text_that_was_read_elsewhere_joins_with_what_was_read(config):
    made = model(config.model_copy(update={"block_size": 24}))
    read = Cache(torch.zeros(1, dtype=torch.long))
    with torch.inference_mode():
        for piece in ([1, 2, 3, 4, 5], [6, 7], [8]):
            made.hidden(torch.tensor([piece]), cache=read)
    writer, found = Writer(made), {}
    coming = [([5, 6], None), (list(range(1, 10)), read), ([9], None)]
    widths = []
    hidden = made.hidden
    made.hidden = lambda idx, *rest, **more: (
        widths.append(idx.size(1)) or hidden(idx, *rest, **more)
    )
    for seed, (ids, already) in enumerate(coming):
        found[writer.begin(ids, SAMPLED, seed, already)] = []
        for _ in range(3):
            for number, drawn in writer.step().items():
                found[number].append(drawn.token)
    assert max(widths) == 2
    del made.hidden
    for seed, ((ids, _), new) in enumerate(zip(coming, found.values(), strict=True)):
        assert new == alone(made, ids, SAMPLED, seed, len(new))


def test_what_is_drawn_comes_with_the_logits_that_it_was_drawn_from():
    made = model(MODERN)
    writer = Writer(made)
    number = writer.begin([5, 6, 7])
    drawn = writer.step()[number]
    assert torch.allclose(drawn.logits, made(torch.tensor([[5, 6, 7]]))[0, -1], atol=1e-5)
    assert drawn.token == int(drawn.logits.argmax())


def test_the_cache_forgets_texts_that_left():
    made = model(MODERN)
    writer = Writer(made)
    for turn in range(30):
        number = writer.begin(list(range(1, 11)))
        short = writer.begin([turn + 1])
        writer.step()
        writer.end(number)
        writer.step()
        writer.end(short)
        assert writer._cache is None
    long = writer.begin([1, 2])
    writer.step()
    assert writer._cache.used == 2 and writer._rows == [long]


@pytest.mark.parametrize(
    "choice",
    [
        {"temperature": -1.0}, {"temperature": 1e-5}, {"temperature": math.nan},
        {"temperature": math.inf}, {"repetition_penalty": 0.0}, {"repetition_penalty": math.nan},
        {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1e-7}, {"top_p": 1.1}, {"top_p": math.nan},
        {"min_p": -0.1}, {"min_p": 1.1}, {"min_p": math.nan},
    ],
)  # fmt: skip
def test_what_leaves_nothing_to_choose_from_is_refused(choice):
    (name,) = choice
    with pytest.raises(ValueError, match=f"^{name} must be"):
        Choice(**choice)


@pytest.mark.parametrize("choice", [{"temperature": 1e-4}, {"temperature": 1.0, "top_p": 1e-6}])
def test_the_least_that_is_allowed_leaves_the_likeliest(choice):
    assert chosen([3.0, 90.0, -40.0], **choice) == {1}


def test_no_prompts_make_no_texts():
    assert generate(model(MODERN), [], max_new_tokens=5, end_of_text=END) == []


needs_fbgemm = pytest.mark.skipif(
    torch.backends.quantized.engine not in FBGEMM, reason="this build of torch has no FBGEMM"
)
needs_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    reason="this processor has no instructions for bfloat16",
)


@BLOCKS
@pytest.mark.parametrize(
    ("kind", "product"),
    [
        pytest.param(torch.float32, PackedLinear, id="float32"),
        pytest.param(torch.bfloat16, HalfLinear, id="fbgemm", marks=needs_fbgemm),
        pytest.param(torch.bfloat16, PackedLinear, id="onednn", marks=needs_bfloat16),
    ],
)
def test_packed_products_are_the_products(config, kind, product, monkeypatch):
    monkeypatch.setattr("llmill.model.packed.LARGE", 0)
    if product is PackedLinear:
        monkeypatch.setattr("llmill.model.packed.FBGEMM", ())
    made = model(config).to(kind)
    twin = packed(made, 1)
    assert sum(isinstance(module, product) for module in twin.modules()) == 4 * config.n_layer + 1
    idx = torch.arange(1, 13)[None]
    tolerance = 1e-5 if kind == torch.float32 else 5e-2
    assert torch.allclose(twin(idx), made(idx).to(twin(idx).dtype), atol=tolerance)
    shared = {p.data_ptr() for p in made.parameters()}
    assert {p.data_ptr() for p in twin.parameters()} == shared


@needs_fbgemm
def test_float16_holds_bfloat16_exactly_down_to_2_to_the_minus_17():
    linear = torch.nn.Linear(4, 16).bfloat16()
    weights = torch.tensor([65280.0, -1.0078125, 2.0**-17 * 1.9921875, 2.0**-25 * 1.5])
    linear.weight.data[:] = weights
    linear.bias.data[:] = 0
    found = HalfLinear(linear, torch.float32)(torch.eye(4))[:, 0]  # a row for each column's weight
    assert found.tolist() == [65280.0, -1.0078125, 2.0**-17 * 1.9921875, 2.0**-24]


@needs_fbgemm
def test_logits_of_packed_bfloat16_are_not_rounded_to_it():
    made = model(MODERN).bfloat16()
    idx = torch.arange(1, 13)[None]
    logits = packed(made, 1)(idx)
    assert logits.dtype == torch.float32
    assert (logits != logits.bfloat16().float()).any()


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_a_torch_without_onednn_multiplies_by_itself(kind, monkeypatch):
    """As its builds for Apple's processors do, whose namespace lacks the operators."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    monkeypatch.setattr("llmill.model.packed.FBGEMM", ())
    monkeypatch.setattr("llmill.model.packed.LARGE", 0)
    plain = model(MODERN).to(kind)
    faster = packed(plain, 1)
    assert {type(m) for m in faster.modules() if "Linear" in type(m).__name__} == {torch.nn.Linear}
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(faster(ids), plain(ids))


@needs_fbgemm
@pytest.mark.parametrize("native", [True, False])
def test_many_rows_are_multiplied_by_torch_where_it_has_instructions_for_it(native, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: native)
    called = []
    monkeypatch.setattr(F, "linear", lambda *given: called.append(1) or LINEAR(*given))
    made = HalfLinear(torch.nn.Linear(4, 16).bfloat16(), torch.bfloat16)
    for rows in (64, 65):
        x = torch.randn(rows, 4).bfloat16()
        assert torch.allclose(made(x), LINEAR(x, made.weight, made.bias), atol=2e-2)
    assert len(called) == native


def test_weights_that_float16_cannot_hold_are_multiplied_all_the_same():
    made = model(MODERN).bfloat16()
    made.head.weight.data[3, 0] = 1e6
    twin = packed(made, 1)
    assert not isinstance(twin.head, HalfLinear)
    idx = torch.arange(1, 13)[None]
    assert torch.allclose(twin(idx), made(idx), rtol=2e-2, atol=5e-2)


def test_a_small_model_in_float32_is_not_packed():
    made = model(MODERN)
    assert packed(made, 1) is made
