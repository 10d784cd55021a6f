"""What a judge's reply says, and what is not looked for in it."""

import pytest

from llmill.evaluation.judging import replies


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


@pytest.mark.parametrize(
    ("reply", "expected"),
    [("A", 1.0), ("b", 0.0), ("tie", 0.5), ("Draw.", 0.5), ("**A**", 1.0), ("[[B]]", 0.0), ("(A)", 1.0), ("Answer B", 0.0),
     ("Answer A.", 1.0), ("**Answer:** B", 0.0), ("Response A", 1.0), ("Winner: **B**", 0.0), ("winner = answer A", 1.0), ("`tie`", 0.5), ('{"winner": "A"}', 1.0),
     ('```json\n{"reason": "B lacks it", "winner": "Answer A"}\n```', 1.0), ("<think>B? No.</think>\nA", 1.0)],
)  # fmt: skip
def test_a_clear_choice_is_read(reply, expected):
    assert replies.choice(reply) == expected


@pytest.mark.parametrize(
    "reply",
    ["", "C", "AB", "A or B", "Answer: A or B", "answer" + "*" * 100_000 + "x", "A is better", "a tie of sorts", "Both", "neither", "A B", "1", "<think>A", '{"winner": ["A"]}',
     '{"better": "A"}', '{"winner": "A", "winner": "B"}', "[[A]] [[B]]", "[" * 100_000, "(" * 100_000 + "x"],
)  # fmt: skip
def test_no_choice_is_guessed_at(reply):
    assert replies.choice(reply) is None
