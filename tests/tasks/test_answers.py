"""Files of answers, ours and others'."""

import json

import pytest

from llmill.contract.errors import UserError
from llmill.tasks import answers
from llmill.tasks.answers import Answer


def test_an_answer_is_answer_and_else_output(tmp_path):
    file = tmp_path / "a.json"
    rows = [
        {"instruction": "Add.", "input": "1 + 1", "output": "2", "answer": "3", "kind": "sum"},
        {"instruction": " Say hi. ", "output": "Hi.", "generator": "x"},
        {"instruction": "Say hi.", "input": None, "output": "Hello."},
    ]
    file.write_text(json.dumps(rows))
    found = answers.read(file)
    assert found.by_task == {("Add.", "1 + 1"): "3", ("Say hi.", ""): "Hi."}
    assert found.references == {("Add.", "1 + 1"): "2"}
    assert found.repeated == 1
    assert found.every[2] == Answer(("Say hi.", ""), "Hello.", None)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"instruction": "a"}', "a.jsonl, line 2: neither 'answer' nor 'output'; a row of answers has"),
        ('{"answer": "a"}', "a.jsonl, line 2: no 'instruction'; a row of answers has instruction"),
        ('{"instruction": "a", "answer": null}', "line 2: 'answer' is null, expected text"),
        ('"a"', "line 2: 'a' is no object with instruction and answer"),
    ],
)  # fmt: skip
def test_a_row_that_holds_no_answer_is_named(tmp_path, row, reason):
    file = tmp_path / "a.jsonl"
    file.write_text('{"instruction": "x", "answer": ""}\n' + row + "\n")
    with pytest.raises(UserError, match=reason):
        answers.read(file)


def test_a_folder_s_files_are_taken_by_name_and_others_left(tmp_path):
    for name in ("b.json", "a.jsonl", "notes.txt"):
        (tmp_path / name).touch()
    assert answers.files(tmp_path) == [tmp_path / "a.jsonl", tmp_path / "b.json"]
    assert answers.files(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]


def test_a_folder_without_answers_and_a_file_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no file in it that ends with \.json, \.jsonl"):
        answers.files(tmp_path)
    with pytest.raises(UserError, match=r"x\.json: no such file of answers"):
        answers.read(tmp_path / "x.json")
