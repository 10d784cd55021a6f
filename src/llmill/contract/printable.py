"""Text from elsewhere (a model's, a label, a server's reply, a path) as a terminal can show it.

A terminal obeys control characters: they move its cursor, recolour it, retitle its window, fill
its clipboard. Here they become what a Python string writes in their place: `\\x1b`. So do the marks
that reverse the order of what is read, the separators of lines and paragraphs, and halves of
characters, which UTF-8 cannot hold. All other text stays as it is: emoji, Arabic, combining marks.
"""

import logging

CONTROLS = (*range(0x20), *range(0x7F, 0xA0))  # C0, DEL, C1
BIDI = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))  # embeddings, overrides, isolates
SEPARATORS = (0x2028, 0x2029)
SURROGATES = range(0xD800, 0xE000)

ONE_LINE = {
    code: chr(code).encode("unicode_escape").decode()
    for code in (*CONTROLS, *BIDI, *SEPARATORS, *SURROGATES)
}
LINES = {code: shown for code, shown in ONE_LINE.items() if chr(code) not in "\n\t"}
LONGEST = 2000  # characters of an error's line: it may quote a file


def line(text: str) -> str:
    """A text on one line: line ends and tabs are escaped, too."""
    return text.translate(ONE_LINE)


def lines(text: str) -> str:
    """A text, or a piece of one, that keeps its line ends and tabs."""
    return text.translate(LINES)


def error(text: str) -> str:
    """An error's one line, cut where it quotes too much."""
    text_line = line(text)
    return text_line if len(text_line) <= LONGEST else f"{text_line[:LONGEST]} ... (cut)"


class Formatter(logging.Formatter):
    """Log records, and the tracebacks in them, which quote what was asked."""

    def format(self, record: logging.LogRecord) -> str:
        return lines(super().format(record))


def logs() -> None:
    """Let what is logged go to stderr, warnings and worse, escaped."""
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter())
    logging.basicConfig(handlers=[handler])


def duration(seconds: float) -> str:
    """`7 s`, `3 min 12 s`, `5 h 40 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
