"""The estimate of a divergence beside the divergence itself."""

import pytest
import torch

from llmill.tasks.templates import ALPACA
from llmill.text.tokenization.template import Template
from llmill.text.tokenization.tokenizer import Tokenizer
from llmill.training.drift import Drift
from tests.evaluation.toys import bytes_tokenizer, decoder

PROMPT = [256, *b"ab"]


def moved(by: float):
    """The reference with its weights moved towards another's."""
    model, other = decoder(), decoder(seed=1)
    with torch.no_grad():
        for parameter, towards in zip(model.parameters(), other.parameters(), strict=True):
            parameter.lerp_(towards, by)
    return model


def drift(draws: int, max_new_tokens: int) -> Drift:
    template = Template(ALPACA, bytes_tokenizer())
    return Drift(decoder(), template, [PROMPT] * draws, max_new_tokens, 1)


def test_a_model_is_no_way_from_itself_and_further_the_more_it_has_moved():
    told = drift(draws=16, max_new_tokens=8)
    assert told(decoder()) == 0.0
    assert 0 < told(moved(0.02)) < told(moved(0.1))


def test_over_many_draws_it_is_the_divergence_of_the_next_token():
    with torch.inference_mode():
        near, far = (
            model(torch.tensor([PROMPT]))[0, -1].log_softmax(-1)
            for model in (decoder(), moved(0.1))
        )
    exact = float((near.exp() * (near - far)).sum())
    assert exact == pytest.approx(0.1, abs=0.1)  # neither nothing nor much
    assert drift(draws=2000, max_new_tokens=1)(moved(0.1)) == pytest.approx(exact, rel=0.15)


def test_the_token_that_ended_an_answer_counts_and_not_another_end():
    """Most bytes end a text here, so most answers are an end alone."""
    few = bytes_tokenizer()
    many = Tokenizer(few.ranks, few.pattern, few.special, few.end_name, range(200))
    template = Template(ALPACA, many)
    told = Drift(decoder(), template, [PROMPT] * 2000, 1, 1)(moved(0.1))
    assert told == drift(draws=2000, max_new_tokens=1)(moved(0.1))


def test_of_a_prompt_longer_than_the_context_the_end_is_read():
    template = Template(ALPACA, bytes_tokenizer())
    prompts = [[256, *b"x" * 100]]
    assert Drift(decoder(), template, prompts, 8, 1)(decoder()) == 0.0
