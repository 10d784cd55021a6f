"""`llmill new-data`: what it says of a file, and the lines that it proposes, which the parameters take."""

import gzip
import json
import shlex
from pathlib import Path

import pytest

from llmill import presets
from llmill.contract import pipeline
from llmill.contract.errors import UserError
from llmill.contract.model_folder import BPE
from llmill.new_data import print_report
from llmill.runner import params
from tests.conftest import ROOT, preset_text
from tests.evaluation.toys import bytes_tokenizer

TICKETS = (
    "id,subject,queue\n1,invoice is wrong,billing\n2,parcel is late,shipping\n"
    "3,invoice is wrong,shipping\n4,,billing\n5,PARCEL is late,shipping\n"
)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(preset_text("smoke"))
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())


def report(capsys, name: str, content: str | bytes, **how) -> list[str]:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    print_report(Path(name), **how)
    return capsys.readouterr().out.splitlines()


def test_a_table_is_described_and_its_lines_are_what_the_parameters_take(capsys):
    lines = report(capsys, "tickets.csv", TICKETS)
    assert lines == [
        "tickets.csv: table, 135 bytes",
        "rows: 5",
        "columns: 3",
        "  id: 5 filled, 5 different, typically 1 characters",
        "  subject: 4 filled, 3 different, typically 15 characters",
        "  queue: 5 filled, 2 different, typically 8 characters",
        "text: subject; label: queue",
        "classes: 2: shipping 3, billing 1",
        "without text or label: 1; repeats: 2; texts with several labels: 1",
        "texts in words: half up to 3, 95 % up to 3, longest 3",
        "in tokens: shown once there is a tokenizer (dvc repro tokenizer)",
        "",
        "mkdir -p own && cp tickets.csv own/tickets.csv",
        "Below download, in params.yaml:",
        "  classification: {file: own/tickets.csv, text: subject, label: queue}",
        "or: llmill preset --set 'download.classification={file: own/tickets.csv, text: subject, label: queue}'",
    ]
    words = shlex.split(lines[-1].removeprefix("or: "))
    presets.change(words[3:])
    table = params.load().download.classification
    assert (table.file, table.text, table.label) == ("own/tickets.csv", ["subject"], "queue")


@pytest.mark.parametrize(
    ("name", "content", "lengths"),
    [
        ("novel.txt", "It was late.\n", "13 in all, half up to 13, longest 13"),
        ("web.jsonl", '{"text": "another"}\n{"text": "a page"}\n{"text": "four"}\n', "17 in all, half up to 6, longest 7"),
    ],
)  # fmt: skip
def test_the_line_about_tokens_names_the_stage_that_makes_a_tokenizer_until_there_is_one(
    capsys, name, content, lengths
):
    lines = report(capsys, name, content)
    assert [line for line in lines if "token" in line] == [
        "in tokens: shown once there is a tokenizer (dvc repro tokenizer)"
    ]
    folder = pipeline.folder(params.stages(params.load()), "tokenizer") / BPE
    folder.mkdir(parents=True)
    bytes_tokenizer().save(folder)
    lines = report(capsys, name, content)
    assert [line for line in lines if "token" in line] == [f"in tokens of {folder}: {lengths}"]


@pytest.mark.parametrize(
    ("name", "content", "how", "line"),
    [
        ("a.tsv", "ham\thello\nspam\twin it\nham\tyou\n", {}, "classification: {file: own/a.tsv, text: 2, label: 1}"),
        ("a.tsv", 'ham\t"hi you\nspam\twin it\nham\tyou\n', {}, "classification: {file: own/a.tsv, text: 2, label: 1, quotes: false}"),
        ("a.csv", "body;label\nhello you;1\nhi there;2\n", {"delimiter": ";"}, 'classification: {file: own/a.csv, text: body, label: label, delimiter: ";"}'),
        ("a.csv", "body,label\ncaf\xe9 au lait,1\nhi there,2\n".encode("cp1252"), {"encoding": "cp1252"}, "classification: {file: own/a.csv, text: body, label: label, encoding: cp1252}"),
        ("a.jsonl", '{"body": "hello you", "label": true}\n{"body": "hi there", "label": false}\n', {}, "classification: {file: own/a.jsonl, text: body, label: label}"),
        ("a.jsonl", '{"prompt": "Say hi", "completion": "hi"}\n', {}, "instruction: {file: own/a.jsonl}"),
        ("p.jsonl", '{"prompt": "Say hi", "chosen": "hi", "rejected": "no"}\n', {}, "preference: {file: own/p.jsonl}"),
        ("p.json", '[{"instruction": "Say hi", "output": "hi", "chosen": "hi", "rejected": "no"}]', {}, "preference: {file: own/p.json}"),
        ("mmlu.csv", "Which?,tree,stone,B\nWho?,me,you,A\n", {}, "mmlu: {file: own/mmlu.csv}"),
        ("q.tsv", "Question\toption a\toption b\tKey\tTopic\nWhich?\ttree\tstone\tB\twood\n", {}, 'mmlu: {file: own/q.tsv, question: Question, choices: ["option a", "option b"], answer: Key, subject: Topic}'),
        ("q.jsonl", '{"question": "Which?", "choices": ["tree", "stone"], "answer": 1}\n', {}, "mmlu: {file: own/q.jsonl, question: question, choices: [choices], answer: answer}"),
        ("web.jsonl", '{"text": "a page"}\n{"text": "another"}\n', {}, "text: [world, {file: own/web.jsonl, format: documents}]"),
        ("spam.csv", "v1,v2,,,\nham,hello you,,,\nspam,win it,,,\nham,hi there,,,\n", {}, "classification: {file: own/spam.csv, text: v2, label: v1}"),
        ("a.csv", "body\tlabel\nhello you\t1\nhi there\t2\n", {"delimiter": r"\t"}, 'classification: {file: own/a.csv, text: body, label: label, delimiter: "\\t"}'),
        ("a.jsonl", '{"prompt": "Say café", "completion": "café"}\n'.encode("cp1252"), {"encoding": "cp1252"}, "instruction: {file: own/a.jsonl, encoding: cp1252}"),
        ("web.jsonl.gz", gzip.compress(b'{"text": "a page"}\n'), {}, "text: [world, {file: own/web.jsonl.gz, format: documents}]"),
        ("novel.txt", "It was late.\n\nNobody came.\n", {}, "text: [world, {file: own/novel.txt}]"),
        ("a.csv", "comment,Great thing\nquestion,Who is it\ncomment,Not so great\nquestion,Why\n", {}, "classification: {file: own/a.csv, text: 2, label: 1}"),
        ("a.csv", "message,spam\nhello you,ham\nwin it,spam\nhi there,ham\n", {}, "classification: {file: own/a.csv, text: message, label: spam}"),
        ("a.csv", '"Review\ntext",label\nhello you,1\nhi there,2\n', {}, 'classification: {file: own/a.csv, text: "Review\\ntext", label: label}'),
        ("a.jsonl", '{"instruction": "Say hi", "output": null, "category": "x"}\n', {}, "instruction: {file: own/a.jsonl}"),
    ],
)  # fmt: skip
def test_each_form_gets_the_lines_of_its_role(capsys, name, content, how, line):
    assert f"  {line}" in report(capsys, name, content, **how)


def test_pairs_are_counted_with_those_that_prefer_nothing(capsys):
    rows = [("Say hi", "hi", "no"), ("say  hi", "hello", "no"), ("Say no", "no", "no ")]
    keys = ("prompt", "chosen", "rejected")
    lines = report(
        capsys, "p.jsonl", "".join(json.dumps(dict(zip(keys, r, strict=True))) + "\n" for r in rows)
    )
    assert lines[:4] == [
        "p.jsonl: preferences, 170 bytes",
        "pairs: 3, in 1 of them both answers are the same",
        "prompts: 2",
        "answers in words: half up to 1, 95 % up to 1, longest 1",
    ]


def test_questions_are_described_and_their_lines_are_what_the_parameters_take(capsys):
    rows = "question,A,B,C,answer,subject\nWhich is it?,tree,stone,,B,wood\nwhich is IT?,tree,stone,,B,wood\n"
    lines = report(capsys, "quiz.csv", rows + "Who?,me,you,they,A,people\n")
    assert lines[:5] == [
        "quiz.csv: multiple-choice questions, 120 bytes",
        "rows: 3, 1 of them repeats",
        "with several answers: 0; whose right choice stands there twice: 0",
        "subjects: 2: wood 1, people 1",
        "choices: 2 to 3",
    ]
    presets.change(shlex.split(lines[-1].removeprefix("or: "))[3:])
    asked = params.load().download.mmlu
    assert (asked.file, asked.choices, asked.subject) == (
        "own/quiz.csv",
        ["A", "B", "C"],
        "subject",
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.csv",
            'body,label\n"a, b",1\nc,d,2\n',
            "a.csv, line 3: 3 columns where the first row has 2",
        ),
        ("a.txt", " \n", "a.txt: no text in it"),
        ("a.jsonl.gz", gzip.compress(b'{"text": " "}\n'), "a.jsonl.gz: no text in it"),
        ("a.csv", "body;label\nhello;1\n", 'set delimiter to ";"'),
        ("a.csv", "", "a.csv: an empty file"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\0\0", "binary file"),
        ("a.csv", "body,note\nhello,a\nyou,b\nthey,c\nwe,d\n", "no column looks like a label"),
        (
            "a.csv",
            "question,A,B,answer\nWhich?,tree,stone,C\n",
            "row 2: answer 'C', allowed are A, B",
        ),
        ("a.xlsx", "PK", "its ending is none of"),
        (
            "chat.jsonl",
            '{"messages": [{"role": "user", "content": "hi"}]}\n',
            r"chat.jsonl, line 1, 'messages': no message of the assistant",
        ),
        ("p.jsonl", '{"prompt": "hi", "chosen": "yes"}\n', "line 1: no key 'rejected'"),
        (
            "dolly.jsonl",
            '{"instruction": "hi", "context": "", "response": "yes", "category": "x"}\n',
            "line 1: no key 'output' beside 'instruction'",
        ),
        (
            "tasks.jsonl",
            '{"instruction": "hi", "output": 3, "category": "x"}\n',
            "line 1: 'output' is int",
        ),
        ("a.csv", "body,label\nhello,1\nhi,1\n", "all of 2 rows are of one class"),
        ("a.csv", "body,label\nhello,\nhi,\n", "no row has a label"),
        (
            "a.json",
            '{"text": {"0": "hello"}, "label": {"0": "a"}}',
            "one class; in pandas, write rows by orient='records'",
        ),
        (
            "mmlu.csv",
            'Which?,"a "good" tree",stone,B\nWho?,me,you,A\n',
            r"mmlu.csv, line 1: not CSV \('\,' expected after '\"'\)",
        ),
        (
            "web.jsonl",
            '{"body": "a page"}\n{"body": "another"}\n',
            r"text: \[\{file: own/web.jsonl, column: COLUMN, format: documents\}\]",
        ),
    ],
)
def test_a_file_that_no_stage_reads_is_refused(capsys, name, content, said):
    with pytest.raises(UserError, match=said):
        report(capsys, name, content)


def test_subjects_too_small_for_the_worked_examples_are_named(capsys):
    rows = ["question,A,B,answer,subject", *(f"Which is {i}?,tree,stone,B,wood" for i in range(4))]
    lines = report(capsys, "quiz.csv", "\n".join([*rows, "Who?,me,you,A,people"]))
    assert params.load().mmlu.shots == 2
    assert lines[7] == (
        "warning: people: fewer than 4 questions, half of which may be worked examples; mmlu.shots "
        "is 2: lower it, or name a file `dev:`"
    )


def test_a_folder_is_told_from_a_file_that_is_not_there(tmp_path):
    (tmp_path / "novels").mkdir()
    with pytest.raises(UserError, match="novels: a folder; name each of its files, or put texts"):
        print_report(Path("novels"))
    with pytest.raises(UserError, match=r"novel\.txt: no such file"):
        print_report(Path("novel.txt"))


def test_a_copy_replaces_no_file(tmp_path, capsys):
    own = tmp_path / "own"
    own.mkdir()
    for name in ("tickets.csv", "tickets-2.csv", "web.jsonl.gz"):
        (own / name).write_text("another")
    (own / "tickets-4.csv").write_text(TICKETS)
    lines = report(capsys, "tickets.csv", TICKETS)
    assert "mkdir -p own && cp tickets.csv own/tickets-3.csv" in lines
    assert "  classification: {file: own/tickets-3.csv, text: subject, label: queue}" in lines
    lines = report(capsys, "web.jsonl.gz", gzip.compress(b'{"text": "a page"}\n'))
    assert "mkdir -p own && cp web.jsonl.gz own/web-2.jsonl.gz" in lines
    (own / "tickets-3.csv").write_text(TICKETS)  # a copy that is there is taken again
    assert "mkdir -p own && cp tickets.csv own/tickets-3.csv" in report(
        capsys, "tickets.csv", TICKETS
    )


def test_paragraphs_are_those_that_the_chain_reads(capsys):
    blank = "\N{NO-BREAK SPACE}"
    lines = report(capsys, "novel.txt", f"One.\r\n{blank}\r\nTwo.\n \nThree.\n")
    assert lines[1] == "paragraphs: 3, 0 of them repeats"


def test_a_delimiter_is_one_character(capsys):
    with pytest.raises(UserError, match="--delimiter '::': a single character"):
        report(capsys, "a.csv", TICKETS, delimiter="::")


def test_a_file_that_the_parameters_name_already_is_not_proposed_twice(capsys):
    novel = "It was late.\n\nNobody came.\n"
    Path("own").mkdir()
    wanted = "  text: [world, {file: own/web.jsonl, format: documents}, {file: own/novel.txt}]"
    presets.change(
        ["download.text=[world, {file: own/novel.txt}, {file: own/web.jsonl, format: documents}]"]
    )
    lines = report(capsys, "own/novel.txt", novel)
    assert wanted in lines
    presets.change(shlex.split(lines[-1].removeprefix("or: "))[3:])
    assert wanted in report(capsys, "own/novel.txt", novel)
