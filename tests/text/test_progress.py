"""What a log and a terminal are told of a download."""

import sys

from llmill.text.download.progress import progress


def test_a_log_gets_a_line_at_each_tenth_of_a_large_source():
    said = []
    with progress("novels", 100_000_000, said.append) as at:
        for position in (1, 9_999_999, 10_000_000, 10_000_001, 45_000_000, 100_000_000):
            at(position)
    assert said == [
        "novels, 100,000,000 bytes",
        "novels: 10,000,000 of 100,000,000 bytes",
        "novels: 45,000,000 of 100,000,000 bytes",
        "novels: 100,000,000 of 100,000,000 bytes",
    ]


def test_a_log_gets_one_line_of_a_source_of_unknown_size():
    said = []
    with progress("novels", None, said.append) as at:
        at(10)
    assert said == ["novels"]


def test_a_terminal_gets_a_bar_and_no_lines(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    said = []
    with progress("novels", 200, said.append) as at:
        at(200)
    assert said == []
    assert "200/200 bytes" in capsys.readouterr().err
