"""What another program made of an export, held against our logits."""

from dataclasses import replace

import pytest
import torch

from llmill.contract.errors import UserError
from llmill.evaluation.inference import parity
from llmill.evaluation.inference.parity import Continued, Prompted, compare, question
from llmill.model.checkpoint import Checkpoint
from llmill.model.generate import generate
from llmill.tasks.templates import ALPACA
from tests.evaluation.toys import alpaca_prompt, bytes_tokenizer, decoder

ASKED = Prompted("AB", False, [256, 65, 66], 8)


def greedy(model) -> list[int]:
    return generate(model, [ASKED.ids], max_new_tokens=8, end_of_text=-1)[0]


def test_our_own_greedy_tokens_are_all_the_same():
    model = decoder()
    answer = Continued(ASKED.ids, greedy(model))
    assert compare(model, ASKED, answer, 0.0, "it") == {"tokens": 8, "same": 8}


def test_a_token_nearer_than_rounding_is_counted_and_another_is_named_with_its_place():
    model, tokens = decoder(), greedy(decoder())
    logits = model(torch.tensor([ASKED.ids + tokens[:3]])).detach()[0, -1]
    best, second = logits.topk(2).indices.tolist()
    distance = float(logits[best] - logits[second])
    answer, asked = Continued(ASKED.ids, [*tokens[:3], second]), replace(ASKED, count=4)
    figures = compare(model, asked, answer, distance + 0.01, "it")
    assert figures == {"tokens": 4, "same": 3}
    line = f"it says token {second} at place 3 after 'AB', llmill {best}, whose logit is {distance:.3f} higher"
    with pytest.raises(UserError, match=line):
        compare(model, asked, answer, distance - 0.01, "it")
    with pytest.raises(UserError, match="it writes 4 tokens after 'AB', asked for 8: it does not"):
        compare(model, ASKED, answer, distance + 0.01, "it")


def test_other_ids_of_the_same_text_are_named():
    with pytest.raises(UserError, match=r"it reads 'AB' as 2 tokens, 65, 66 .* llmill as 3 tokens"):
        compare(decoder(), replace(ASKED, count=1), Continued([65, 66], [1]), 1.0, "it")


def test_an_assistant_is_asked_through_its_template_and_never_more_than_its_context_holds():
    tokenizer = bytes_tokenizer()
    asked = question(Checkpoint(decoder(block_size=512), tokenizer, template=ALPACA))
    text = "What is the capital of France?"
    assert asked == Prompted(text, True, alpaca_prompt(text), 32)
    asked = question(Checkpoint(decoder(block_size=20), tokenizer))
    assert (asked.ids, asked.count) == ([256, *b"The capital of"], 5)
    assert question(Checkpoint(decoder(block_size=15), tokenizer)) is None


def test_rounded_is_a_copy_with_the_numbers_of_a_file():
    model = decoder()
    made = parity.rounded(model, lambda _, tensor: tensor.bfloat16().float())
    assert torch.equal(made.embedding.weight, model.embedding.weight.bfloat16().float())
    assert not torch.equal(made.embedding.weight, model.embedding.weight)
    assert made.head.weight is made.embedding.weight  # tied still
