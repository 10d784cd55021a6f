"""Read what is typed or piped into a command, as text that every tokenizer reads.

Bytes that are not UTF-8 become U+FFFD, the mark for an unknown character; a line on stderr says so,
and the command continues.
"""

import contextlib
import io
import sys
from collections.abc import Iterator

from llmill.contract.errors import UserError
from llmill.text.halves import without_halves

REMEDY = "`iconv -f ENCODING -t UTF-8` converts what is in another encoding"


def lines(prompt: str = "") -> Iterator[str]:
    """Yield the lines of standard input, with a prompt at a terminal. Raises `UserError` if it
    cannot be read.
    """
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    if sys.stdin is not None and sys.stdin.isatty():
        # Reads lines of any length, which a terminal by itself cuts, and adds keys that edit them.
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  # `input` uses it
    number = 0
    while True:
        number += 1
        try:
            line = input(prompt if sys.stdin.isatty() else "")
        except (EOFError, KeyboardInterrupt):
            return
        except OSError as error:
            raise UserError(f"standard input: {error.strerror}") from None
        yield text(line, f"line {number} of the input")


def text(words: str, where: str) -> str:
    """Return what was typed, with U+FFFD for each byte that Python could not read."""
    plain = without_halves(words)
    wrong = sum(before != after for before, after in zip(words, plain, strict=True))
    if wrong:
        bytes_are = "1 byte is" if wrong == 1 else f"{wrong} bytes are"
        print(
            f"llmill: {where}: {bytes_are} not UTF-8, and read as \ufffd; {REMEDY}", file=sys.stderr
        )
    return plain
