"""How labelled messages are divided into splits."""

from llmill.tasks.classification import Collection, Message
from llmill.tasks.division import divide, small_classes
from llmill.tasks.settings import Split
from llmill.tasks.split import split


def test_a_collection_is_divided_once_repeats_labels_and_further_tests_are_settled():
    rows = [Message("ham", f"text {i}") for i in range(200)]
    rows += [Message("spam", "TEXT 1"), Message("spam", "text 1"), Message("spam", "seen")]
    tests = [Message("spam", "Seen"), Message("spam", "never")]
    shares = Split(validate_share=0.1, test_share=0.2)
    found = divide(Collection(rows, [None] * 203), shares, tests)
    assert (found.duplicates, found.in_tests, list(found.contradictions)) == (2, 1, ["text 1"])
    for name, messages in found.parts.items():
        drawn = split([row.text for row in rows[:200]], str, 0.1, 0.2)[name]
        assert [message.text for message in messages] == drawn
    labels = {each.text: each.label for messages in found.parts.values() for each in messages}
    assert [text for text, label in labels.items() if label == "spam"] == ["text 1"]


def test_a_split_is_drawn_only_if_the_collection_has_none():
    rows = [Message("ham", f"text {i}") for i in range(100)]
    splits = ["test"] * 3 + ["train"] * 90 + [None] * 7
    shares = Split(validate_share=0.1, test_share=0.2)
    parts = divide(Collection(rows, splits), shares).parts
    assert parts["test"] == rows[:3]
    drawn = split([row.text for row in rows[3:]], str, 0.1, 0)
    assert [row.text for row in parts["validate"]] == drawn["validate"]
    assert [row.text for row in parts["train"]] == drawn["train"]


def test_small_classes_are_those_that_a_split_lacks():
    a, b, c = (Message(label, "text") for label in "abc")
    parts = {"train": [c, a, b], "validate": [a], "test": [b, a]}
    assert small_classes(parts) == {"b": ["validate"], "c": ["validate", "test"]}
