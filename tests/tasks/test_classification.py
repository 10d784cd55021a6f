import csv
from collections import Counter

import pytest

from llmill.contract.errors import UserError
from llmill.tasks import classification
from llmill.tasks.classification import Message
from llmill.tasks.split import distinct, split
from llmill.text.tokenization.tokenizer import Tokenizer


def read(folder, content: bytes):
    file = folder / "SMSSpamCollection"
    file.write_bytes(content)
    return classification.read_raw(file)


def test_rows_are_read_without_quoting_and_may_hold_tabs_and_odd_separators(tmp_path):
    content = '\ufeffham\t"Hi\tyou\r\nspam\tWin\u2028a "prize"\x85\r\n'.encode()
    assert read(tmp_path, content) == [
        Message("ham", '"Hi\tyou'),
        Message("spam", 'Win\u2028a "prize"\x85'),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"ham\thello\nno label here\nspam\tx\n", "row 2: no label"),
        (b"ham\thello\n\tno label\n", "row 2: no label"),
        (b"ham\thello\nspam\t \n", "row 2: no text"),
        (b"ham\thello\nham\tyou\n", "every row is 'ham'"),
        (b"", "an empty file"),
        (b"ham\thel\0lo\nspam\tx\n", "row 1: a NUL character"),
        (
            b"label\ttext\nham\thello\nspam\tx\n",
            "row 1 holds names of columns.*text: text, label: label",
        ),
        (b"ham\tcaf\xe9\n", "not UTF-8 at byte 7"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_the_row(tmp_path, content, said):
    with pytest.raises(UserError, match=rf"SMSSpamCollection.*{said}"):
        read(tmp_path, content)


HELLO = [Message("ham", "hello"), Message("spam", "win")]


@pytest.mark.parametrize(
    "content",
    [
        b"ham\thello\n\nspam\twin\n\n\n",
        b"ham\thello\rspam\twin\r",
        b'ham\t"hello"\nspam\t"win"\n',
        "ham\thello\nspam\twin\n".encode("utf-16"),
    ],
    ids=["blank lines", "old Mac", "quoted by a spreadsheet", "UTF-16"],
)
def test_lines_are_read_however_they_end_and_a_spreadsheets_marks_go(tmp_path, content):
    assert read(tmp_path, content) == HELLO


def test_a_line_break_in_quotes_stays_and_marks_that_do_not_pair_are_text(tmp_path):
    assert read(tmp_path, b'ham\t"he ""llo""\nyou"\nspam\twin\n')[0].text == 'he "llo"\nyou'
    assert read(tmp_path, b'ham\t"hello" he said\nspam\t"win\n')[0].text == '"hello" he said'


def test_marks_that_pair_across_rows_are_text(tmp_path):
    content = b'ham\t"Call me\nspam\twin it\nham\tand she said bye"\n'
    assert [row.text for row in read(tmp_path, content)] == [
        '"Call me',
        "win it",
        'and she said bye"',
    ]


def test_a_quoted_cell_may_hold_line_ends_and_tabs(tmp_path):
    content = b'ham\t"see:\nprice\t5"\nspam\t"x"\nham\t"say ""hi"""\n'
    rows = [(row.label, row.text) for row in read(tmp_path, content)]
    assert rows == [("ham", "see:\nprice\t5"), ("spam", "x"), ("ham", 'say "hi"')]


def test_numbers_are_labels(tmp_path):
    labels = [row.label for row in read(tmp_path, b"0\tzero\n1\tone\n2\ttwo\n")]
    assert labels == ["0", "1", "2"]


def table(folder, content, **form):
    (folder / "a.csv").write_bytes(content)
    columns = {"text": ["body"], "label": "kind", "split": None, "test": None}
    how = {"encoding": None, "delimiter": None, "quotes": True}
    return classification.read_table(folder, {"file": "own/a.csv", **columns, **how, **form})


def test_a_table_gives_texts_from_several_columns_and_says_what_it_passed_over(tmp_path):
    content = b"kind,title,body\nham,Hi,there\nspam,,win\nham,  ,\n,Lost,label\n,,\n"
    read = table(tmp_path, content, text=["title", "body"])
    assert read.messages == [Message("ham", "Hi\nthere"), Message("spam", "win")]
    assert (read.without_text, read.without_label) == (2, 1)  # neither: once


def test_a_table_may_bring_its_split_and_repeats_stay_in_the_test(tmp_path):
    content = b"kind,body,part\nham,hello,train\nspam,win,Validation\nham,hello,TEST\n"
    read = table(tmp_path, content, split="part")
    assert read.splits == ["train", "validate", "test"]
    blank = table(
        tmp_path, b"kind,body,part\nham,hello,train\nspam,win,\nham,you, \n", split="part"
    )
    assert blank.splits == ["train", None, None]
    assert [part for _, part in read.ordered()] == ["test", "validate", "train"]
    with pytest.raises(UserError, match=r"a\.csv, row 1: split 'later'; there is train, validate"):
        table(tmp_path, b"kind,body,part\nham,hello,later\n", split="part")


def test_a_table_may_have_its_test_in_another_file(tmp_path):
    (tmp_path / "b.csv").write_bytes(b"body,kind\nbuy,spam\n")
    read = table(tmp_path, b"kind,body\nham,hello\nspam,win\n", test="own/b.csv")
    assert list(zip(read.messages, read.splits, strict=True)) == [
        (Message("ham", "hello"), None),
        (Message("spam", "win"), None),
        (Message("spam", "buy"), "test"),
    ]


def test_a_text_with_several_labels_keeps_the_most_frequent_and_of_equals_the_first():
    texts = [("ham", "a"), ("spam", "A "), ("spam", "a"), ("ham", "b"), ("spam", "b"), ("ham", "c")]
    settled = classification.settle(Message(*row) for row in texts)
    assert {each.text: (each.labels, each.label) for each in settled.values()} == {
        "a": ({"ham": 1, "spam": 2}, "spam"),
        "b": ({"ham": 1, "spam": 1}, "ham"),
    }


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="nothing: missing"):
        classification.read_raw(tmp_path / "nothing")


def test_the_real_messages_are_all_read_and_a_quoting_reader_loses_two(real_data):
    file = real_data / "sms_spam/SMSSpamCollection"
    rows = classification.read_raw(file)
    assert Counter(row.label for row in rows) == {"ham": 4827, "spam": 747}
    with file.open(encoding="utf-8", newline="") as text:
        quoted = list(csv.reader(text, delimiter="\t"))
    assert len(quoted) == 5572
    assert len(rows) - len(set(rows)) == 403


def test_no_real_message_is_in_two_splits(real_data):
    rows = classification.read_raw(real_data / "sms_spam/SMSSpamCollection")
    kept = distinct(rows, lambda row: row.text)
    assert len(kept) == 5159
    parts = split(kept, lambda row: row.text, 0.1, 0.2)
    assert {name: len(found) for name, found in parts.items()} == {
        "train": 3624,
        "validate": 526,
        "test": 1009,
    }
    plain = [{" ".join(r.text.casefold().split()) for r in found} for found in parts.values()]
    assert not plain[0] & plain[1] | plain[0] & plain[2] | plain[1] & plain[2]


def test_messages_come_back_as_written(tmp_path):
    rows = [Message("ham", "hello"), Message("spam", "Win £100")]
    classification.write(tmp_path / "a.jsonl", rows)
    assert classification.read(tmp_path / "a.jsonl") == rows


def test_a_classifier_reads_the_end_of_text_and_then_the_text_and_of_a_long_one_the_end():
    tokenizer = Tokenizer({bytes([b]): b for b in range(256)})
    assert classification.encode(tokenizer, "abc", 10) == [256, 97, 98, 99]
    assert classification.encode(tokenizer, "abc", 4) == [256, 97, 98, 99]
    assert classification.encode(tokenizer, "abc", 3) == [256, 98, 99]
    assert classification.encode(tokenizer, "abc", 2) == [256, 99]
    assert classification.encode(tokenizer, "", 10) == [256]
