"""Show text from elsewhere (a model, a label, a server's reply, a path) safely on a terminal.

A terminal obeys control characters: they move its cursor, change its colours and its title, and
fill its clipboard. They are escaped as in a Python string: `\\x1b`. So are the marks that reverse
the reading order, the separators of lines and paragraphs, and lone surrogates, which UTF-8 cannot
hold. All other text stays as it is: emoji, Arabic, combining marks.
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
LONGEST = 2000  # characters of an error line, which may quote a file


def line(text: str) -> str:
    """Return a text on one line, with line ends and tabs escaped too."""
    return text.translate(ONE_LINE)


def lines(text: str) -> str:
    """Escape a text, or a piece of one, but keep its line ends and tabs."""
    return text.translate(LINES)


def error(text: str) -> str:
    """Return an error as one line, cut if it quotes too much."""
    text_line = line(text)
    return text_line if len(text_line) <= LONGEST else f"{text_line[:LONGEST]} ... (cut)"


class Formatter(logging.Formatter):
    """Formatter that escapes log records and their tracebacks, which quote requests."""

    def format(self, record: logging.LogRecord) -> str:
        return lines(super().format(record))


def logs() -> None:
    """Log warnings and worse to stderr, escaped."""
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter())
    logging.basicConfig(handlers=[handler])


def duration(seconds: float) -> str:
    """Return a duration as `7 s`, `3 min 12 s` or `5 h 40 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
