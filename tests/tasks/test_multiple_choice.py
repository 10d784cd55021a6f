import json

import pyarrow as pa
import pyarrow.parquet as pq
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
        Question("odd_things", 'Which\none, "you"\u2028say?', ["1", "2\n2", "3", "4"], 2),
        Question("odd_things", "Next?", ["a", "b", "c", "d"], 0),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"Q?,a,b,c,d,A\nQ?,a,b,c,B\n", "row 2: 5 fields"),
        (b"Q?,A\n", "row 1: 2 fields, expected question, A, B, C, D, answer"),
        (b"Q?,a,A\n", "row 1: 3 fields"),
        (b"Q?,1,2,3,4,5,6,7,8,9,10,11,A\n", "row 1: 13 fields|row 1: 11 choices, a question has"),
        (b"Q?,a,,c,d,A\n", "row 1: choice 2 of 4 is empty"),
        (b" ,a,b,c,d,A\n", "row 1: no question"),
        (b"\n \n", "no questions in it"),
        (
            b"Q?,a,b,c,d,4\n",
            "row 1: answer '4', allowed are A, B, C, D \\(or 0 to 3\\); answers count from 0; "
            "use letters if yours count from 1",
        ),
        (b"question,A,B,reply\nQ?,a,b,c\n", "row 1: answer 'reply'"),
        (b"question,A,B,answer,Answer \nQ?,a,b,A,B\n", "2 columns 'answer'; rename one"),
        (b"question,B,C,answer\nQ?,a,b,A\n", "row 2: choice 1 of 3 is empty"),
        (b"question,choices,answer\nQ?,a b,A\n", "row 2: choices 'a b', expected a list"),
        (b'Q?,a,b,c,d,A\n"The word "lamp" means",a,b,c,d,A', "line 2: not CSV .* written twice"),
        (b"Q?,a,b,c,\0,A\n", "row 1: a NUL character"),
        (b"Q?,a,b,c,d,E\n", "row 1: answer 'E', allowed are A, B, C, D"),
        (b"Q?,a,b,c,d,\n", "row 1: answer ''"),
        (b"Q?,a,b,c,d,AB\n", "row 1: answer 'AB'"),
        (b"Q\xff?,a,b,c,d,A\n", "row 1: not UTF-8 at byte 1; set encoding to its own"),
        (b'"Q?,a,b,c,d,A\n', "not CSV"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_with_its_number(tmp_path, content, said):
    with pytest.raises(UserError, match=rf"odd_things_test\.csv.*{said}"):
        read(tmp_path, content)


PLAIN = [
    Question("odd_things", "Which is it?", ["tree", "window", "stone", "paper"], 1),
    Question("odd_things", "And now?", ["bread", "boat", "stone", "bridge"], 3),
]


@pytest.mark.parametrize(
    "content",
    [
        "Which is it?,tree,window,stone,paper,B\nAnd now?,bread,boat,stone,bridge,D\n",
        "Which is it?, tree,window ,stone,paper,B\nAnd now?,bread,boat,stone,\u00a0bridge\t,D\r\n",
        "Which is it?,tree,window,stone,paper,b\nAnd now?,bread,boat,stone,bridge, d \n",
        "question,A,B,C,D,answer\nWhich is it?,tree,window,stone,paper,B\n"
        "And now?,bread,boat,stone,bridge,D",
        "Answer;Question;a;b;c;d\nB;Which is it?;tree;window;stone;paper\n"
        "D;And now?;bread;boat;stone;bridge",
        "Which is it?;tree;window;stone;paper;B\nAnd now?;bread;boat;stone;bridge;D",
        "Which is it?\ttree\twindow\tstone\tpaper\tB\nAnd now?\tbread\tboat\tstone\tbridge\tD",
        "\n \nWhich is it?,tree,window,stone,paper,B\n\nAnd now?,bread,boat,stone,bridge,D\n\n,,,,,\n",
        "Which is it?,tree,window,stone,paper,1\nAnd now?,bread,boat,stone,bridge,3\n",
        'question,choices,answer\nWhich is it?,"[""tree"", ""window"", ""stone"", ""paper""]",B\n'
        'And now?,"[""bread"", ""boat"", ""stone"", ""bridge""]",3\n',
    ],
)
def test_white_space_case_header_delimiter_and_blank_lines_change_no_question(tmp_path, content):
    assert read(tmp_path, content.encode()) == PLAIN


def test_long_cells_numbers_and_half_characters_are_read(tmp_path):
    long = "Which? " + "x" * 140_000
    (tmp_path / "long.csv").write_text(f"{long},tree,stone,B\n")
    (question,) = multiple_choice.read_table(tmp_path / "long.csv", "wood", None)
    assert question.question == long
    row = r'{"question": "Which \ud83d?", "choices": [1.0, 2.5, true], "answer": 1.0, "subject": 7}'
    (tmp_path / "a.jsonl").write_text(row)
    (question,) = multiple_choice.read_table(tmp_path / "a.jsonl", "wood", None)
    assert question == Question("7", "Which \ufffd?", ["1", "2.5", "true"], 1)


def test_a_table_in_another_encoding_of_unicode_is_read(tmp_path):
    content = "Où est-ce?,tree,window,stone,paper,B\r\n"
    assert read(tmp_path, content.encode("utf-16"))[0].question == "Où est-ce?"


def test_questions_have_two_to_ten_choices(tmp_path):
    content = (
        b"question,A,B,C,D,E,F,G,H,I,J,answer\nOne?,1,2,3,4,5,6,7,8,9,10,j\nTwo?,1,2,,,,,,,,,B\n"
    )
    one, two = read(tmp_path, content)
    assert (one.choices, one.answer) == ([str(i) for i in range(1, 11)], 9)
    assert (two.choices, two.answer) == (["1", "2"], 1)


def test_rows_with_named_columns_may_be_json_lines_or_parquet_with_a_subject_each(tmp_path):
    rows = [
        {"question": "Which is it?", "choices": ["tree ", "window", "stone", "paper"], "answer": 1},
        {"question": "And now?", "choices": ["yes", "no"], "answer": "a", "subject": "other"},
    ]
    (tmp_path / "test").mkdir()
    lines = "".join(json.dumps(row) + "\n\n" for row in rows)
    (tmp_path / "test/odd_things_test.jsonl").write_text(lines)
    found = [PLAIN[0], Question("other", "And now?", ["yes", "no"], 0)]
    assert multiple_choice.read_raw(tmp_path, "test") == found
    (tmp_path / "test/odd_things_test.jsonl").unlink()
    table = pa.table(
        {
            "subject": [None, "other"],
            "question": [row["question"] for row in rows],
            "choices": [row["choices"] for row in rows],
            "answer": [1, 0],
        }
    )
    pq.write_table(table, tmp_path / "test/odd_things.parquet")
    assert multiple_choice.read_raw(tmp_path, "test") == found
    pq.write_table(
        table.rename_columns(["subject", "q", "choices", "answers"]),
        tmp_path / "test/odd_things.parquet",
    )
    with pytest.raises(
        UserError, match=r"parquet, row 1 of 2: no column 'question'; there are subj"
    ):
        multiple_choice.read_raw(tmp_path, "test")


FORM = {
    "file": "own/quiz.csv", "encoding": None, "question": None, "choices": None, "answer": None,
    "subject": None, "dev": None,
}  # fmt: skip


def own_with_counts(folder, content, name="quiz.csv", **form):
    (folder / name).write_text(content)
    return multiple_choice.read_own(folder, {**FORM, "file": f"own/{name}", **form})


def own(folder, content, name="quiz.csv", **form):
    return own_with_counts(folder, content, name, **form)[0]


NAMES = {"question": "Frage", "choices": ["eins", "zwei", "drei"], "answer": "Lösung"}
TREE = Question("quiz", "Which?", ["tree", "stone"], 1)


@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("quiz.csv", "Which?,tree,stone,B\n", {}),
        ("quiz.tsv", "id\tLösung\teins\tzwei\tdrei\tFrage\n7\tB\ttree\tstone\t\tWhich?\n", NAMES),
        ("quiz.csv", "Frage;options;Lösung\nWhich?;[\"tree\", \"stone\"];1\n", NAMES | {"choices": ["options"]}),
        ("quiz.csv", "Frage,A,B,answer\nWhich?,tree,stone,b\n", {"question": "frage"}),
        ("quiz.json", '[{"Frage": "Which?", "eins": "tree", "zwei": "stone", "drei": null, "Lösung": 1}]', NAMES),
        ("quiz.jsonl", '{"Frage": "Which?", "options": ["tree", "stone"], "Lösung": "B"}\n', NAMES | {"choices": ["options"]}),
    ],
)  # fmt: skip
def test_a_table_of_ones_own_names_its_columns(tmp_path, name, content, form):
    assert own(tmp_path, content, name, **form) == {"dev": [], "val": [], "test": [TREE]}


@pytest.mark.parametrize(
    ("content", "form", "said"),
    [
        ("Frage,eins,zwei,drei,Losung\nQ?,a,b,c,A\n", {}, "row 2: no column 'Lösung'; did you mean 'losung'"),
        ("Frage,eins,zwei,drei,Lösung\nQ?,a,b,c,A\n", {"subject": "topic"}, "row 2: no column 'topic'; there are frage, eins"),
        ("Q?,a,b,c,A\nR?,a,b,c,B\n", {}, "row 2: no column 'Frage'; there are q., a, b, c"),
        ("Frage,eins,zwei,drei,Lösung\nQ?,a,,,A\n", {}, "row 2: 1 choices, a question has 2 to 10"),
    ],
)  # fmt: skip
def test_a_column_that_is_not_there_is_named(tmp_path, content, form, said):
    with pytest.raises(UserError, match=f"quiz.csv, {said}"):
        own(tmp_path, content, **NAMES, **form)


def test_worked_examples_are_drawn_up_to_five_of_a_subject_and_never_asked(tmp_path):
    rows = [f"Which is {i}?,tree,stone,A,{'many' if i < 12 else 'few'}" for i in range(15)]
    table = "\n".join(["question,A,B,answer,subject", *rows, "which IS 3?, tree,stone,A,many\n"])
    parts = own(tmp_path, table)
    assert [question.subject for question in parts["dev"]] == ["many"] * 5 + ["few"]
    assert len(parts["test"]) == 9
    assert {question.question for part in parts.values() for question in part} == {
        f"Which is {i}?" for i in range(15)
    }


def test_of_contradicting_answers_the_most_frequent_stays_and_ambiguous_questions_go(tmp_path):
    rows = [
        "Which?,tree,stone,ice,A", *["which?,Tree,stone,ice,B"] * 2,
        "Who?,me,me,you,A", "When?,now,now,then,C", *["Where?,here,there,no,B"] * 2,
    ]  # fmt: skip
    parts, counts = own_with_counts(tmp_path, "\n".join(["question,A,B,C,answer", *rows]))
    found = {q.question: q.answer for part in parts.values() for q in part}
    assert found == {"Which?": 1, "When?": 2, "Where?": 1}
    assert counts == {"rows": 7, "duplicates": 3, "contradictory": 1, "ambiguous": 1}


def test_worked_examples_may_be_a_file_of_their_own(tmp_path):
    (tmp_path / "shots.csv").write_text("WHICH?,tree,stone,B\nWhen?,now,then,A\n")
    parts = own(tmp_path, "Which?,tree,stone,B\nWho?,me,you,A\n", dev="own/shots.csv")
    assert [question.question for question in parts["dev"]] == ["WHICH?", "When?"]
    assert [question.question for question in parts["test"]] == ["Who?"]


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
