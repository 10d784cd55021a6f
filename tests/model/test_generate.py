"""Generation against a slow reference: one row, one full forward pass a token."""

import pytest
import torch

from llmill.model.generate import Choice, choose, generate
from tests.model.test_transformer import BLOCKS, LLAMA, MODERN, model

END = 0


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
def test_a_batch_of_any_lengths_gives_what_each_prompt_gives_alone(config, cached):
    made = model(config.model_copy(update={"block_size": 24}))
    prompts = [[5], [7, 8, 9, 10], [11, 3], list(range(1, 12))]
    together = generate(made, prompts, max_new_tokens=13, end_of_text=END, cached=cached)
    assert together == [slow(made, ids, 13) for ids in prompts]


def test_each_step_reads_one_token_a_row_until_the_context_is_full():
    made, read = model(MODERN), []
    made.register_forward_pre_hook(lambda _, args: read.append(tuple(args[0].shape)))
    generate(made, [[5], [7, 8, 9]], max_new_tokens=12, end_of_text=-1)
    assert read == [(2, 3), *[(2, 1)] * 9, (2, 12), (2, 12)]


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


def chosen(logits: list[float], texts=((),), **choice) -> set[int]:
    """Every token that can be drawn."""
    rows = torch.tensor([logits]).expand(400, -1)
    generator = torch.Generator().manual_seed(1)
    return set(choose(rows, [list(texts[0])] * 400, Choice(**choice), generator))


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


def test_a_repetition_penalty_makes_tokens_of_the_text_less_likely():
    assert chosen([2.0, 1.5, -1.0], texts=([0],), repetition_penalty=2.0) == {1}
    assert chosen([2.0, 1.5, -1.0], texts=([0, 1],), repetition_penalty=2.0) == {0}
    assert chosen([-2.0, -1.5], texts=([1],), repetition_penalty=2.0) == {0}


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


@pytest.mark.parametrize("cached", [True, False])
def test_a_model_that_is_not_causal_goes_on_with_nothing(cached):
    made = model(MODERN.model_copy(update={"causal": False}))
    with pytest.raises(ValueError, match="not causal reads a text as a whole, without a cache"):
        generate(made, [[1, 2]], max_new_tokens=3, end_of_text=END, cached=cached)


def test_an_empty_prompt_begins_a_document():
    made = model(MODERN)
    assert generate(made, [[]], max_new_tokens=3, end_of_text=END) == [slow(made, [END], 3)]
