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
from llmill.new_data.finding import listed
from llmill.runner import params
from llmill.stages import prepare
from llmill.stages.settings.download import OwnTable
from tests.conftest import ROOT, preset, preset_text
from tests.evaluation.toys import bytes_tokenizer

TICKETS = (
    "id,subject,queue\n1,invoice is wrong,billing\n2,parcel is late,shipping\n"
    "3,invoice is wrong,shipping\n4,,billing\n5,PARCEL is late,shipping\n"
)

CLASSES = "abcdefghijklmnopqrst"


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
        "  id: 5 filled, 5 different, typically 1 character",
        "  subject: 4 filled, 3 different, typically 15 characters",
        "  queue: 5 filled, 2 different, typically 8 characters",
        "text: subject; label: queue",
        "classes: 2: shipping 3, billing 1",
        "without text or label: 1; repeats: 2; texts with several labels: 1",
        'first text: "invoice is wrong"',
        "texts in words: half up to 3, 95 % up to 3, longest 3",
        "in tokens: shown once there is a tokenizer (dvc repro tokenizer)",
        "warning: classes without a text in each split: billing (none in validate or test), shipping (none in train or test); add some texts, or leave the class out",
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
        ("novel.txt", "It was late.\n\nNobody came.\n", "24 in all, half up to 12, longest 12"),
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
        ("q.ndjson", '{"question": "Which?", "choices": ["tree", "stone"], "answer": 1}\n', {}, "mmlu: {file: own/q.ndjson, question: question, choices: [choices], answer: answer}"),
        ("web.jsonl", '{"text": "a page"}\n{"text": "another"}\n', {}, "text: [world, {file: own/web.jsonl, format: documents}]"),
        ("web.jsonl", '{"text": "café"}\n{"text": "another"}\n'.encode("cp1252"), {"encoding": "cp1252"}, "text: [world, {file: own/web.jsonl, format: documents, encoding: cp1252}]"),
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
    assert lines[:5] == [
        "p.jsonl: preferences, 170 bytes",
        "pairs: 3; 1 with two equal answers",
        "prompts: 2",
        'first prompt: "Say hi"; chosen: "hi"',
        "answers in words: half up to 1, 95 % up to 1, longest 1",
    ]


def test_questions_are_described_and_their_lines_are_what_the_parameters_take(capsys):
    rows = "question,A,B,C,answer,subject\nWhich is it?,tree,stone,,B,wood\nwhich is IT?,tree,stone,,B,wood\n"
    lines = report(capsys, "quiz.csv", rows + "Who?,me,you,they,A,people\n")
    assert lines[:6] == [
        "quiz.csv: multiple-choice questions, 120 bytes",
        "rows: 3; repeats: 1",
        "with several answers: 0; right choice listed twice: 0",
        "subjects: 2: wood 1, people 1",
        "choices: 2 to 3",
        'first question: "Which is it?"; right choice: "stone"',
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
        ("a.jsonl", '{"text": null}\n{"text": " "}\n', "a.jsonl: no text in it"),
        ("a.jsonl.gz", b"", "a.jsonl.gz: an empty file"),
        ("a.csv.gz", b"", r"a.csv.gz: packed; unpack it first \(gunzip\)"),
        ("a.parquet.zst", "x", r"a.parquet.zst: packed; unpack it first \(unzstd\)"),
        ("a.CSV", TICKETS, "a.CSV: llmill reads endings in lower case; rename it to a.csv"),
        (
            "a.docx",
            "PK",
            r"a.docx: its ending is none of .csv, .tsv, .tab, .json, .jsonl, .ndjson, .parquet, .txt, "
            r".md \(.txt, .md, .jsonl and .ndjson also as .gz or .zst\); export it as one of them$",
        ),
        (
            "a.csv",
            "body,label\ncaf\xe9,1\n".encode("cp1252"),
            "a.csv, row 2: not UTF-8 at byte 14; name its own, e.g. --encoding cp1252",
        ),
        (
            "a.csv",
            "id,remark\n1,hello\n2,you\n",
            "classification: {file: own/a.csv, text: COLUMN, label: COLUMN}; or give numbers from 1 "
            "if the first row holds no names$",
        ),
        (
            "a.csv",
            "remark,text,text\nhello,a,b\nyou,c,d\n",
            "a.csv: columns of the same name: text; rename one",
        ),
        (
            "a.csv",
            "id,text,text,label\n1,hello you,a,b\n2,hi there,c,d\n",
            "a.csv: columns of the same name: text; rename one; or give numbers from 1 if the first row holds no names$",
        ),
        (
            "q.tab",
            "question\tA\tB\tanswer\nWhich?\ttree\tstone\tB\n",
            "q.tab: looks like multiple-choice questions: export it as one of .csv, .tsv, .json, .jsonl, .ndjson, .parquet",
        ),
        ("a.jsonl.gz", gzip.compress(b'{"text": " "}\n'), "a.jsonl.gz: no text in it"),
        ("a.csv", "body;label\nhello;1\n", 'name it: --delimiter ";"'),
        ("a.csv", "", "a.csv: an empty file"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\0\0", "binary file"),
        (
            "a.csv",
            "body,note\nhello,a\nyou,b\nthey,c\nwe,d\n",
            "a.csv: no column looks like a label and another like a text; choose among body, note: ",
        ),
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
        ("a.csv", "body,label\nhello,1\nhi,1\n", "a.csv: all labelled texts are of one class"),
        ("a.csv", "body,label\nhello,\nhi,\n", "a.csv: no row has a text and a label"),
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
    assert lines[8] == (
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
    assert lines[1] == "paragraphs: 3; repeats: 0"


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


def lines_of(capsys, rows: list[str], name: str = "a.csv") -> list[str]:
    return report(capsys, name, "\n".join(rows) + "\n")


def warnings(lines: list[str]) -> list[str]:
    """Those about what a file means, not about how small it is."""
    small = ("classes without a text", "fewer than 4 questions")
    return [
        line
        for line in lines
        if line.startswith("warning: ") and not any(each in line for each in small)
    ]


@pytest.mark.parametrize(
    "rows",
    [
        ["question,A,B,C,D,answer", "Which?,tree,stone,fish,bird,1", "Who?,me,you,they,we,3"],
        ["Which?,tree,stone,fish,bird,1", "Who?,me,you,they,we,3"],
        ["Which?;tree;stone;fish;bird;1", "Who?;me;you;they;we;3"],
    ],
)
def test_answers_that_may_count_from_1_are_warned_of(capsys, rows):
    lines = lines_of(capsys, rows, "quiz.csv")
    assert 'first question: "Which?"; right choice: "stone"' in lines
    warning = (
        "warning: answers count from 0, and no answer is 0; if this file counts from 1, subtract 1 "
        "from each answer, or write letters"
    )
    assert warning in lines
    assert warning not in lines_of(capsys, [*rows[:-1], rows[-1].replace("3", "0")])
    assert warning not in lines_of(capsys, [*rows[:-1], rows[-1].replace("3", "A")])


def test_answers_that_are_texts_of_choices_are_warned_of(capsys):
    rows = ["question,A,B,C,answer", "How many legs?,1,2,4,2", "How many arms?,0,1,2,1"]
    assert warnings(lines_of(capsys, rows)) == [
        "warning: answers count from 0, and no answer is 0; if this file counts from 1, subtract 1 "
        "from each answer, or write letters",
        "warning: in 1 row, the answer is also the text of a choice; llmill reads answer 2 of "
        '"How many legs?" as "4"; write letters',
    ]


def test_a_column_of_splits_is_named(capsys):
    rows = ["subject,Part,queue", "an invoice is wrong,Training,billing", "a parcel,val,shipping"]
    lines = lines_of(
        capsys, [*rows, "a bill,test,billing", "a van,,shipping", "a ship,dev,billing"]
    )
    assert "text: subject; label: queue; split: Part" in lines
    assert "  classification: {file: own/a.csv, text: subject, label: queue, split: Part}" in lines
    presets.change(shlex.split(lines[-1].removeprefix("or: "))[3:])
    assert params.load().download.classification.split == "Part"
    other = lines_of(capsys, [*rows, "a bill,left,billing"])
    assert "text: subject; label: queue" in other


def test_a_column_of_splits_is_no_label(capsys):
    rows = ["words,set,Prio", "a bill,train,high", "a parcel,test,low", "a van,train,high"]
    assert "text: words; label: Prio (a guess); split: set" in lines_of(capsys, rows)


def test_texts_in_another_column_only_are_counted(capsys):
    rows = ["id,title,body,label", "1,where is it,,a", "2,an invoice,there is a mistake in it,b"]
    rows.append("3,,all of it is wrong,a")
    hint = "1 row has no body, only title; text: [title, body] joins columns"
    assert hint in lines_of(capsys, rows)
    lines = lines_of(capsys, [*rows, "4,who is there,,a"])
    assert "2 rows have no body, only title; text: [title, body] joins columns" in lines
    assert "joins columns" not in "\n".join(lines_of(capsys, [rows[0], *rows[2:]]))


def test_a_guessed_label_is_said_to_be_one_and_empty_cells_are_no_value(capsys):
    rows = ["remark,Kategorie,Prio,flag", "an invoice is wrong,a,low,x", "a parcel is late,b,high,"]
    lines = lines_of(capsys, [*rows, "it is too late,c,low,x", "it has not come,a,,"])
    assert "text: remark; label: Prio (a guess; also possible: Kategorie)" in lines


def test_a_column_of_letters_may_hold_right_choices(capsys):
    hint = (
        "loesung holds only letters from A to J: if these are the right choices of questions, see "
        "mmlu in docs/your-data.md"
    )
    rows = ["frage,eins,zwei,loesung", "Was ist das?,ein Baum,ein Stein,B", "Wer?,ich,du,A"]
    assert hint in lines_of(capsys, [*rows, "Wo?,da,dort,A"])
    with pytest.raises(UserError, match=hint):
        lines_of(capsys, rows)


def test_labels_that_differ_only_in_case_or_as_numbers_are_named(capsys):
    rows = [
        "body,label",
        *(f"text {n},{each}" for n, each in enumerate(["Spam", "ham", "spam", "SPAM"])),
    ]
    rows += ["more text,1", "yet more,1.0", "nothing,10"]
    rows += ["an id,9007199254740992", "another id,9007199254740993"]
    assert warnings(lines_of(capsys, rows)) == [
        "warning: different classes, though written alike: Spam, spam, SPAM; 1, 1.0; write one label "
        "where they mean the same"
    ]


def test_classes_that_are_too_small_for_the_splits_are_named_as_prepare_will_find_them(capsys):
    rows = [f"text {n},{label}" for n in range(40) for label in ("big", "large")]
    rows = ["body,label", *(row.replace("text", row.partition(",")[2]) for row in rows)]
    assert "classes without a text" not in "\n".join(lines_of(capsys, rows))
    lines = lines_of(capsys, [*rows, "one text,small", "another text,small", "ONE text,small"])
    assert lines[-6] == (
        "warning: classes without a text in each split: small (none in validate or test); add some "
        "texts, or leave the class out"
    )


def test_the_splits_that_it_foresees_are_those_that_prepare_draws(capsys, tmp_path, monkeypatch):
    """Classes of 6 to 25 texts, some in two cases or under two labels: some miss a split."""
    rows = [
        f"{label}{n} text,{label}" for size, label in enumerate(CLASSES, 6) for n in range(size)
    ]
    rows += [f"{label.upper()}0 TEXT,{label}" for label in CLASSES]
    rows += [f"a0 text,{label}" for label in CLASSES[:4]]
    lines = report(capsys, "many.csv", "\n".join(["body,label", *rows]))
    (tmp_path / "out").mkdir()
    form = OwnTable(file="own/many.csv", text="body", label="label").model_dump()
    monkeypatch.setattr(prepare, "refuse_small_classes", lambda *_: None)  # it names only the first
    parts, _ = prepare.prepare_messages(tmp_path, form, preset("smoke").prepare, tmp_path / "out")
    found = {name: {message.label for message in messages} for name, messages in parts.items()}
    few = {label: [name for name in parts if label not in found[name]] for label in CLASSES}
    missing = [f"{label} (none in {' or '.join(few[label])})" for label in CLASSES if few[label]]
    assert 1 < len(missing) < len(CLASSES)
    (line,) = [line for line in lines if "classes without a text" in line]
    assert line.removesuffix("; add some texts, or leave the class out") == (
        f"warning: classes without a text in each split: {listed(missing)}"
    )


def test_classes_missing_from_a_split_that_the_table_names_are_named(capsys):
    parts = ("train", "validate", "test")
    rows = [f"{label} text {n},{label},{parts[n % 3]}" for n in range(9) for label in ("a", "b")]
    rows = ["body,label,split", *rows]
    assert "classes without a text" not in "\n".join(lines_of(capsys, rows))
    lines = lines_of(capsys, [*rows, *(f"c text {n},c,train" for n in range(50))])
    assert (
        "warning: classes without a text in each split: c (none in validate or test); add some "
        "texts, or leave the class out"
    ) in lines


def test_columns_of_the_same_name_are_named(capsys):
    rows = ["body,label,text,text", "hello you,1,a,b", "hi there,2,c,d"]
    assert warnings(lines_of(capsys, rows)) == [
        "warning: columns of the same name: text; rename one"
    ]


@pytest.mark.parametrize(
    ("name", "content", "how"),
    [
        (
            "t.csv",
            "instruction,input,output\nSay hi,,hi\nSay no,,no\nSay it,,hi\n",
            "write its rows as JSON lines (.jsonl); or, if output holds labels: "
            "classification: {file: own/t.csv, text: instruction, label: output}",
        ),
        (
            "t.csv",
            "Question,Answer\nWho is it?,me\nWho was it?,me\n",
            "write its rows as JSON lines (.jsonl), Question as prompt and Answer as completion; or, "
            "if Answer holds labels: classification: {file: own/t.csv, text: Question, label: Answer}",
        ),
        (
            "t.jsonl",
            '{"question": "Who?", "answer": "me"}\n{"question": "When?", "answer": "now"}\n',
            "rename question to prompt and answer to completion; or, if answer holds labels: "
            "classification: {file: own/t.jsonl, text: question, label: answer}",
        ),
        (
            "t.jsonl",
            '{"input": "Say hi", "output": "hi"}\n',
            "rename input to prompt and output to completion; or, if output holds labels: "
            "classification: {file: own/t.jsonl, text: input, label: output}",
        ),
    ],
)
def test_instructions_under_other_names_are_not_taken_for_a_classification(
    capsys, name, content, how
):
    with pytest.raises(UserError) as error:
        report(capsys, name, content)
    assert str(error.value) == f"{name}: looks like instructions: {how}"


def test_preferences_in_a_table_are_not_taken_for_a_classification(capsys):
    with pytest.raises(UserError, match=r"p\.csv: looks like preferences: write its rows as JSON"):
        report(capsys, "p.csv", "prompt,chosen,rejected\nSay hi,hi,no\nSay no,no,hi\n")


def test_a_question_with_a_usual_label_is_a_classification(capsys):
    rows = ["question,answer,category", "Where is it?,on its way,a", "What is wrong?,the bill,b"]
    assert "text: question; label: category" in lines_of(capsys, rows)


def test_a_wrong_encoding_is_named_by_its_option_and_a_right_one_is_seen(capsys):
    content = f"body,label\ncaf\xe9 au lait {'x' * 70},1\nhi,2\n".encode("cp1252")
    with pytest.raises(UserError, match="not ascii at byte 14, as --encoding says; name another"):
        report(capsys, "a.csv", content, encoding="ascii")
    lines = report(capsys, "a.csv", content, encoding="cp1250")
    assert f'first text: "caf\xe9 au lait {"x" * 47} ..."' in lines
    lines = report(capsys, "a.csv", content, encoding="cp1251")
    assert f'first text: "caf\u0439 au lait {"x" * 47} ..."' in lines
    lines = report(capsys, "a.txt", content, encoding="cp1251")
    assert f'first text: "body,label caf\u0439 au lait {"x" * 36} ..."' in lines
    with pytest.raises(UserError, match=r"or name its encoding, e\.g\. --encoding utf-16-le"):
        report(capsys, "a.csv", b"body,label\nhello\0,1\n")


def test_words_of_a_script_without_spaces_are_its_characters(capsys):
    lines = report(capsys, "novel.txt", "日本語の本\n\n一つ二つ\n\n三\n")
    assert lines[1:5] == [
        "paragraphs: 3; repeats: 0",
        "words: 10",
        'first text: "日本語の本"',
        "paragraphs in words: half up to 4, 95 % up to 5, longest 5",
    ]
