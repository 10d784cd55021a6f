import csv
from collections import Counter

import pytest

from llmill.contract.errors import UserError
from llmill.tasks import classification
from llmill.tasks.classification import Message
from llmill.tasks.split import distinct, split
from llmill.text.tokenizer import Tokenizer


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
        (b"ham\thello\n\nspam\tx\n", "row 2: no label"),
        (b"ham\thello\nspam\t \n", "row 2: no text"),
        (b"ham\thello\nham\tyou\n", "every row is 'ham'"),
        (b"", "row 1: no label"),
        (b"ham\tcaf\xe9\n", "not UTF-8 at byte 7"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_the_row(tmp_path, content, said):
    with pytest.raises(UserError, match=rf"SMSSpamCollection.*{said}"):
        read(tmp_path, content)


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
