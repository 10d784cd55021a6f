import pytest

from llmill.contract.errors import UserError
from llmill.tasks import multiple_choice
from llmill.tasks.multiple_choice import Question


def read(folder, content: bytes):
    (folder / "test").mkdir()
    (folder / "test" / "odd_things_test.csv").write_bytes(content)
    return multiple_choice.read_raw(folder, "test")


def test_quoted_fields_hold_commas_quotes_and_every_kind_of_line_break(tmp_path):
    content = '"Which\r\none, ""you""\u2028say?",1,"2\n2",3,4,C\r\nNext?,a,b,c,d,A'
    assert read(tmp_path, content.encode()) == [
        Question("odd_things", 'Which\r\none, "you"\u2028say?', ["1", "2\n2", "3", "4"], 2),
        Question("odd_things", "Next?", ["a", "b", "c", "d"], 0),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"Q?,a,b,c,d,A\nQ?,a,b,c,B\n", "row 2: 5 fields"),
        (b"Q?,a,b,c,d,A,\n", "row 1: 7 fields"),
        (b"Q?,a,b,c,d,A\n\n", "row 2: 0 fields"),
        (b"Q?,a,b,c,d,E\n", "row 1: answer 'E', allowed are A, B, C, D"),
        (b"Q?,a,b,c,d,\n", "row 1: answer ''"),
        (b"Q?,a,b,c,d,AB\n", "row 1: answer 'AB'"),
        (b"Q\xff?,a,b,c,d,A\n", "not CSV in UTF-8"),
        (b'"Q?,a,b,c,d,A\n', "not CSV"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_with_its_number(tmp_path, content, said):
    with pytest.raises(UserError, match=rf"odd_things_test\.csv.*{said}"):
        read(tmp_path, content)


def test_a_split_without_files_is_named(tmp_path):
    with pytest.raises(UserError, match=r"val: no files named <subject>_val\.csv"):
        multiple_choice.read_raw(tmp_path, "val")


def test_questions_come_back_as_written(tmp_path):
    questions = [Question("s", "Q\n?", ["a", "b", "c", "d"], 3)]
    multiple_choice.write(tmp_path / "a.jsonl", questions)
    assert multiple_choice.read(tmp_path / "a.jsonl") == questions


def test_every_real_question_is_read_where_lines_would_mislead(real_data):
    folder = real_data / "mmlu"
    found = {split: multiple_choice.read_raw(folder, split) for split in multiple_choice.SPLITS}
    assert {split: len(rows) for split, rows in found.items()} == {
        "dev": 285,
        "val": 1531,
        "test": 14042,
    }
    assert len({question.subject for question in found["test"]}) == 57
    files = sorted((folder / "test").glob("*.csv"))
    assert sum(file.read_bytes().count(b"\n") for file in files) == 18721
    assert found["dev"][0] == Question(
        "abstract_algebra",
        "Find all c in Z_3 such that Z_3[x]/(x^2 + c) is a field.",
        ["0", "1", "2", "3"],
        1,
    )
