"""Text from elsewhere on a terminal: what would steer it is escaped, all else stays."""

import logging

import pytest

from llmill.contract import printable

STEERS = [
    ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
    ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
    ("pass\x08\x08\x08\x08fail", r"pass\x08\x08\x08\x08fail"),
    ("first\rsecond\x0b\x0c\x00\x7f", r"first\rsecond\x0b\x0c\x00\x7f"),
    ("\x9b31m\x85\x80\x9f", r"\x9b31m\x85\x80\x9f"),
    ("user\u202egpj.exe\u2066\u2069\u202a", r"user\u202egpj.exe\u2066\u2069\u202a"),
    ("one\u2028two\u2029", r"one\u2028two\u2029"),
    ("half \ud83d, byte \udcff", r"half \ud83d, byte \udcff"),
]
STAYS = [
    "plain, 50 % $x$ \\frac [bold] {a}", "naïve Zürich e\u0301 é", "مرحبا بالعالم \u200f ١٢٣", "हिन्दी 日本語",
    "👩\u200d👩\u200d👧 👍🏽 ❤\ufe0f 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "no\u00a0break \ufeff soft\u00adhyphen",
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), STEERS)
def test_what_steers_a_terminal_is_escaped(text, shown):
    assert printable.line(text) == printable.lines(text) == shown
    shown.encode()


@pytest.mark.parametrize("text", STAYS)
def test_ordinary_text_of_any_script_stays_as_it_is(text):
    assert printable.line(text) == printable.lines(text) == text


def test_line_ends_and_tabs_stay_in_a_text_of_several_lines_alone():
    assert printable.lines("a\n\tb\r\n") == "a\n\tb\\r\n"
    assert printable.line("a\n\tb\r\n") == r"a\n\tb\r\n"


def test_a_text_in_pieces_is_escaped_as_the_whole():
    text = "\x1b]8;;x\x1b\\y\u202e👩\u200d👧\n"
    assert "".join(map(printable.lines, text)) == printable.lines(text)


def test_an_error_that_quotes_a_whole_file_is_cut():
    said = printable.error("config.json: " + "x" * 10_000_000)
    assert len(said) < 2100 and said.startswith("config.json: xxx") and said.endswith(" ... (cut)")


def test_a_log_and_the_traceback_in_it_are_escaped():
    try:
        raise ValueError("asked\x1b[2J")
    except ValueError as error:
        failed = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "model \x1b]0;t\x07", (), failed)
    said = printable.Formatter().format(record)
    assert said.startswith("model \\x1b]0;t\\x07\nTraceback (most recent call last):\n")
    assert said.endswith("ValueError: asked\\x1b[2J")
