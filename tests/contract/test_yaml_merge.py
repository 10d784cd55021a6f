"""A value changes where it stands, and nothing else in the text does."""

import pytest

from llmill.contract import yaml_merge

TEXT = """\
# head

name: 'one'  # its name

train:
  steps:   10   # how many
  rate: 1.0e-5
  last: null
  optimizer: {kind: muon,  betas: [0.9, 0.95]}  # both

model:
  width: 8
  rate: 012  # the last line of a block

list: [a, "b"]
"""
CASES = [
    # a value, its comment kept or replaced, and braces inside of which a value changes
    ("name: two", "name: 'one'  # its name", "name: two  # its name"),
    ("name: two # why", "name: 'one'  # its name", "name: two # why"),
    ("train: {steps: 20}", "  steps:   10   # how many", "  steps: 20   # how many"),
    ("train: {rate: 5.0e-7}", "  rate: 1.0e-5", "  rate: 5.0e-7"),
    ("train: {last: 3}", "  last: null", "  last: 3"),
    ("train: {optimizer: {kind: adamw}}", "{kind: muon,  b", "{kind: adamw,  b"),
    ("train:\n  optimizer: {kind: adamw}  # one", "{kind: muon,  betas: [0.9, 0.95]}  # both", "{kind: adamw,  betas: [0.9, 0.95]}  # one"),
    ("list: [c]", '[a, "b"]', "[c]"),
    # a key that is not there yet
    ("model: {depth: 2}", "  rate: 012  # the last line of a block\n", "  rate: 012  # the last line of a block\n  depth: 2\n"),
    ("train: {optimizer: {lr: 0.1}}", "0.95]}", "0.95], lr: 0.1}"),
    ("more:\n  a: 1  # one", '[a, "b"]\n', '[a, "b"]\nmore:\n  a: 1  # one\n'),
    # a mapping that is one value
    ("model: {shape: init}", "model:\n  width: 8\n  rate: 012  # the last line of a block\n", "model: {shape: init}\n"),
    ("model:\n  shape: init  # a\n  width: 9  # b", "  width: 8\n  rate: 012  # the last line of a block\n", "  shape: init  # a\n  width: 9  # b\n"),
]  # fmt: skip


def whole(path, keys):
    return path == ("model",) and "shape" in keys


@pytest.mark.parametrize(("changes", "old", "new"), CASES, ids=[case[0] for case in CASES])
def test_a_value_changes_where_it_stands_and_every_other_byte_stays(changes, old, new):
    assert TEXT.count(old) == 1
    assert yaml_merge.merge(TEXT, changes, whole) == TEXT.replace(old, new)


def test_lines_end_as_they_did_and_the_last_need_not_end():
    text = "a: 1  # one\r\nb: 2"
    assert yaml_merge.merge(text, "a: 3  # x\nb: 4\n", whole) == "a: 3  # x\r\nb: 4"


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("a: &x 1\nb: *x\n", "a: 2"),  # b would lose its value
        ("a: &x 1\nb: *x\n", "b: 2"),  # a would change with it
        (
            "a:\n    b:\n        c: 1\n",
            "a:\n  b:\n    shape: 1\n",
        ),  # lines that do not stand below b
    ],
)
def test_what_cannot_be_changed_alone_is_refused(text, changes):
    with pytest.raises(ValueError, match=r"alias|one by one"):
        yaml_merge.merge(text, changes, lambda path, keys: "shape" in keys)
