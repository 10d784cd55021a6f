"""Generation against a slow reference: one row, one full forward pass a token."""

import torch

from llmill.model.generate import generate
from tests.model.test_transformer import MODERN, model

END = 0


def slow(made, ids, count):
    new = []
    for _ in range(count):
        window = torch.tensor([(ids + new)[-made.config.block_size :]])
        token = int(made(window)[0, -1].argmax())
        if token == END:
            break
        new.append(token)
    return new


def test_a_batch_of_any_lengths_gives_what_each_prompt_gives_alone():
    made = model(MODERN)
    prompts = [[5], [7, 8, 9, 10], [11, 3], list(range(1, 12))]
    together = generate(made, prompts, max_new_tokens=9, end_of_text=END)
    assert together == [slow(made, ids, 9) for ids in prompts]


def test_a_text_longer_than_the_context_goes_on_from_its_last_tokens():
    made = model(MODERN)
    long = list(range(1, 31))
    assert generate(made, [long], max_new_tokens=5, end_of_text=END) == [slow(made, long, 5)]


def test_sampling_repeats_with_its_seed_and_leaves_the_random_state_alone():
    made = model(MODERN)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    settings = {"max_new_tokens": 8, "end_of_text": END, "temperature": 1.0, "top_k": 10}
    one = generate(made, [[1, 2]], seed=3, **settings)
    assert torch.equal(torch.rand(1), expected)
    assert one == generate(made, [[1, 2]], seed=3, **settings)
    assert one != generate(made, [[1, 2]], seed=4, **settings)


def test_an_empty_prompt_begins_a_document():
    made = model(MODERN)
    assert generate(made, [[]], max_new_tokens=3, end_of_text=END) == [slow(made, [END], 3)]
