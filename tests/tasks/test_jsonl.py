import pytest

from llmill.contract.errors import UserError
from llmill.tasks import jsonl
from llmill.tasks.classification import Message


def test_rows_come_back_whatever_characters_they_hold(tmp_path):
    rows = [Message("ham", 'é "x"\n\u2028\x85\ttwo'), Message("spam", "\\n")]
    jsonl.write(tmp_path / "a.jsonl", rows)
    assert jsonl.read(tmp_path / "a.jsonl", Message) == rows
    assert (tmp_path / "a.jsonl").read_bytes().count(b"\n") == 2


@pytest.mark.parametrize(
    "line",
    ['{"label": "ham"', '{"label": "ham"}', "[1]", '{"other": 1}', "[" * 200_000],
    ids=lambda line: line[:20],
)
def test_a_line_that_is_no_row_is_named(tmp_path, line):
    file = tmp_path / "a.jsonl"
    file.write_text('{"label": "ham", "text": "x"}\n' + line + "\n")
    with pytest.raises(UserError, match=r"a\.jsonl, line 2: not a row.*dvc checkout"):
        jsonl.read(file, Message)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.jsonl: missing"):
        jsonl.read(tmp_path / "a.jsonl", Message)
