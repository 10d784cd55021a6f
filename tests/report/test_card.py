import pytest

from llmill.report import card

SHAPE = {
    "n_layer": 2, "n_embd": 16, "block_size": 64, "vocab_size": 257, "parameters": 9000,
    "dtype": "float32", "labels": ["ham", "spam"], "max_length": 32,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind", "asked"),
    [
        ("pretrain", "foundation", "tokenizer(tokenizer.bos_token"),
        ("instruct", "assistant", "apply_chat_template("),
        ("prefer", "assistant", "apply_chat_template("),
        ("classify/all", "classifier", 'pipeline("text-classification"'),
    ],
)
def test_the_card_shows_how_a_model_of_its_kind_is_asked(name, kind, asked):
    text = card.render("models/x", name, kind, SHAPE, [], {}, {})
    ways = ("tokenizer(tokenizer.bos_token", "apply_chat_template(", 'pipeline("text-classif')
    assert asked in text
    assert sum(way in text for way in ways) == 1
