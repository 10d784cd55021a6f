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


def test_the_card_lists_numbers_and_intervals():
    right = {"value": 0.88732, "low": 0.84526, "high": 0.91905, "n": 284, "covers": "items"}
    figures = {"accuracy": right, "test_pairs": 1284, "kl": 0.117555, "beside": {"longer": right}}
    text = card.render("models/x", "prefer", "assistant", SHAPE, [], {**figures, "cut": True}, {})
    table = text.partition("## Metrics\n\n")[2].partition("\n\n")[0]
    assert table.splitlines()[2:] == [
        "| accuracy | 0.8873 (0.8453 to 0.9191 over items) |",
        "| test pairs | 1,284 |",
        "| kl | 0.1176 |",
    ]
