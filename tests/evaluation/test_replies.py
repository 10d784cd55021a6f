"""What a judge's reply says, and what is not looked for in it."""

import pytest

from llmill.evaluation import replies


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("87", 87),
        (" 87\n", 87),
        ("0", 0),
        ("100", 100),
        ("87.", 87),
        ("87/100", 87),
        ("Score: 87", 87),
        ("score = 5 / 100", 5),
        ("**87**", 87),
        ("**Score:** 87", 87),
        ("**Score: 87/100.**", 87),
        ("# Score: `87`", 87),
        ('"87"', 87),
        ("87.0", 87),
        ("100.00", 100),
        ('{"score": 87}', 87),
        ('{"score": 87.0, "reason": "2 of 3 facts"}', 87),
        ('{"Score": "87/100"}', 87),
        ('```json\n{"score": 87}\n```', 87),
        ("```\n87\n```", 87),
        ("<think>40? No, 87.</think> 87", 87),
        ("<think>\n</think>\n\n**87**", 87),
        ("of two facts one: 40</think>87", 87),
    ],
)
def test_a_clear_integer_is_read(reply, expected):
    assert replies.score(reply) == expected


@pytest.mark.parametrize(
    "reply",
    ["", "101", "-5", "87.5", "8/10", "087", "1e2", "eighty", "87 or 88", "80-90", "٨٧", "87%",
     "The answer is right. 87", "Score: 87\nIt is good.",
     "8*7", "8**7", "8_7", "**8** **7**", "87.05", "100.5", "101.0", "-87", "<think>87", "<think>87</think>",
     "<think>87</think> 87 or 88", "87 <think>", '{"score": 101}', '{"score": 87.5}', '{"score": true}',
     '{"score": [87]}', '{"score": 1, "score": 2}', '{"score": 1, "Score": 2}', '{"grade": 87}', "[87]",
     '{"score": 87', '{"score": ' + "[" * 100_000, "[" * 100_000, "**" * 100_000 + "x"],
)  # fmt: skip
def test_anything_else_is_not_guessed_at(reply):
    assert replies.score(reply) is None
