"""YAML means here what it means for DVC, or is refused in one line."""

import math
from pathlib import Path

import pytest
from dvc.fs import LocalFileSystem
from dvc.utils.serialize import load_yaml

from llmill.contract import yaml_file
from llmill.contract.errors import UserError

SCALARS = [
    ("012", 12),
    ("-012", -12),
    ("089", 89),
    ("0o14", 12),
    ("0x1f", 31),
    ("0b11", 3),
    ("1_000", 1000),
    ("1e-3", 0.001),
    ("1E5", 100000.0),
    ("1e3", 1000.0),
    (".5", 0.5),
    ("1.", 1.0),
    ("+1", 1),
    ("1e400", math.inf),
    (".inf", math.inf),
    ("yes", "yes"),
    ("no", "no"),
    ("on", "on"),
    ("True", True),
    ("TRUE", True),
    ("tRue", "tRue"),
    ("~", None),
    ("Null", None),
    ("", None),
    ("12:30:00", "12:30:00"),
    ("0o9", "0o9"),
    ("!!str 3", "3"),
    ('!!int "3"', 3),
    ("!!float 3", 3.0),
    ("&a 1", 1),
    ('"1e-3"', "1e-3"),
    ("[1, 1e1, no]", [1, 10.0, "no"]),
]
DOCUMENTS = [
    ("\ufeffa: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
    ("%YAML 1.1\n---\na: 012\nb: yes\n", {"a": 10, "b": True}),
    ("x: &x {a: 1, b: 1}\ny: {<<: *x, b: 2}\n", {"x": {"a": 1, "b": 1}, "y": {"a": 1, "b": 2}}),
    ("a: &x 1\nb: &x 2\nc: *x\n", {"a": 1, "b": 2, "c": 2}),
    ('1: 2\n"1": 3\n', {1: 2, "1": 3}),
    ("a: 1\n...\n", {"a": 1}),
    ("- 1\n", [1]),
]
REFUSED = [
    ("a: 1\nb: 2\na: 3\n", 'line 3: found duplicate key "a" with value "3" (original value: "1")'),
    ("a: {b: 1, b: 1}", 'line 1: found duplicate key "b"'),
    ('"\\x1b[2J": 1\n"\\x1b[2J": 2\n', r'line 2: found duplicate key "\x1b[2J"'),
    ("a: 1\n---\nb: 2\n", "line 2: but found another document"),
    ("a:\n\t- 1\n", r"line 2: found character '\t' that cannot start any token"),
    ("a: [1,\n\n", "line 3: expected the node content"),
    ("a: b: c\n", "line 1: mapping values are not allowed here"),
    ("a: *b\n", "line 1: found undefined alias 'b'"),
    ("a: !foo 3\n", "line 1: could not determine a constructor for the tag '!foo'"),
    ("a: !!python/object:os.system x\n", "line 1: could not determine a constructor for the tag"),
    ("a: !!int one\n", "a value does not fit its tag, or is too long"),
    ("a: !!bool one\n", "a value does not fit its tag, or is too long"),
    (f"a: {'9' * 5000}\n", "a value does not fit its tag, or is too long"),
    ("a: 1\nb: \x1b[2J\n", "line 2: a control character stands in it"),
    ("%YAML 1.3\n---\na: 1\n", "version minor part can only be 2 or 1"),
    ("a: " + "[" * 600, "brackets in brackets, too deep"),
]
NUMBERS = range(1, 12)
LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 9}]\n" for i in NUMBERS)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{f'*a{i - 1}, ' * 9}], k{i}: 1}}\n" for i in NUMBERS
)


def by_dvc(file: Path) -> object:
    return load_yaml(file, fs=LocalFileSystem())


@pytest.mark.parametrize(("text", "value"), SCALARS, ids=[s[0] for s in SCALARS])
def test_a_scalar_means_what_it_means_for_dvc(tmp_path, text, value):
    file = tmp_path / "a.yaml"
    file.write_text(f"a: {text}\n", encoding="utf-8")
    ours = yaml_file.load(file, "")
    assert ours == by_dvc(file) == {"a": value}
    assert type(ours["a"]) is type(value)


@pytest.mark.filterwarnings("ignore::ruamel.yaml.error.ReusedAnchorWarning")
@pytest.mark.parametrize(("text", "value"), DOCUMENTS, ids=[ascii(d[0]) for d in DOCUMENTS])
def test_a_file_means_what_it_means_for_dvc(tmp_path, text, value):
    file = tmp_path / "a.yaml"
    file.write_text(text, encoding="utf-8")
    assert yaml_file.load(file, "") == by_dvc(file) == value


@pytest.mark.parametrize(("text", "line"), REFUSED, ids=[ascii(r[0])[:30] for r in REFUSED])
def test_what_dvc_cannot_read_is_refused_in_one_line(tmp_path, text, line):
    file = tmp_path / "a.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Exception):  # noqa: B017  of many types, some of them no error of DVC's
        by_dvc(file)
    with pytest.raises(UserError) as error:
        yaml_file.load(file, "")
    assert str(error.value).startswith(f"{file}: not YAML: {line}")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    "text", [LAUGHS, MERGES, "a: &a [*a]\n"], ids=["lists", "merges", "itself"]
)
def test_aliases_that_stand_for_millions_of_values_are_refused(tmp_path, text):
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match="stand for more than 100,000 values"):
        yaml_file.load(file, "")


def test_bytes_that_are_no_utf_8_and_what_is_no_file_are_refused_in_one_line(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_bytes("a: é\n".encode("latin-1"))
    with pytest.raises(UserError, match="not YAML: 'utf-8' codec can't decode byte 0xe9"):
        yaml_file.load(file, "")
    with pytest.raises(UserError, match="not a file"):
        yaml_file.load(tmp_path, "")
    with pytest.raises(UserError, match="no such file; make one"):
        yaml_file.load(tmp_path / "b.yaml", "make one")
    file.write_text("a: 1\n" * 3)
    with pytest.raises(UserError, match="above 10 bytes"):
        yaml_file.load(file, "", most_bytes=10)
