"""Decodes the bytes of a text file, in the same way for every file that a user brings.

Input: the bytes, and the encoding if the user named one. Output: the text without a byte-order
mark, with \\n at the end of each line. Without a name it is UTF-8 or UTF-16, which can be
recognized for certain. Nothing else is guessed, because every byte is valid in cp1252 and similar
encodings.
"""

import codecs
import difflib
from encodings.aliases import aliases
from pathlib import Path

from llmill.contract.errors import UserError

MARKS = (  # longer marks first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
FEW = 10  # in UTF-16, at most one NUL in so many is in the other byte
EXAMPLES = "cp1252, latin-1, utf-16, gb18030, shift_jis"


def decode(data: bytes, path: Path, encoding: str | None) -> str:
    """Return the text of a file; `path` names it in errors, `encoding` is the user's, or None.

    Raises `UserError` for an unknown encoding, for bytes that do not fit it, with their row and
    offset, and for NUL characters, which occur in binary files.
    """
    name = check(encoding, str(path)) if encoding is not None else _recognized(data)
    try:
        text = _plain(data.decode(name))
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        row = _row(_plain(data[:start].decode(name, "replace")))
        if encoding is not None:
            said = f"not {encoding} at byte {start}, as its `encoding` says; name another"
        elif b"\0" in data:
            said = f"not text in {name.upper()} at byte {start} but a binary file"
        else:
            said = f"not {name.upper()} at byte {start}; set encoding to its own, e.g. cp1252"
        raise UserError(f"{path}, row {row}: {said}") from None
    if "\0" in text:
        raise UserError(
            f"{path}, row {_row(text[: text.index(chr(0))])}: a NUL character, which no text has; "
            "it is a binary file, or encoding must be set to its own, e.g. utf-16-le"
        )
    return text


def without_halves(text: str) -> str:
    """Return a text that UTF-8 can hold: each lone surrogate, which JSON's escapes can spell,
    becomes U+FFFD.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def check(encoding: str, where: str) -> str:
    """Return Python's name of an encoding. Raises `UserError` with a near one if it is unknown."""
    try:
        info = codecs.lookup(encoding)
        # Python's codecs include rot13 and base64.
        if getattr(info, "_is_text_encoding", True):
            return info.name
    except (LookupError, ValueError):
        pass
    near = difflib.get_close_matches(encoding.lower(), [*aliases.values(), *aliases], n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"it may be {EXAMPLES} ..."
    raise UserError(f"{where}: unknown encoding {encoding!r}; {hint}")


def _recognized(data: bytes) -> str:
    marked = next((name for mark, name in MARKS if data.startswith(mark)), None)
    if marked:
        return marked
    # UTF-16 without a mark: one byte of most Latin letters, spaces and line ends is NUL.
    nuls = data[0::2].count(0), data[1::2].count(0)
    if max(nuls) * 4 >= len(data) and min(nuls) * FEW <= max(nuls) > 0:
        return "utf-16-le" if nuls[1] > nuls[0] else "utf-16-be"
    return "utf-8"


def _plain(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _row(before: str) -> int:
    """Return the number of the row that follows this text, from 1."""
    return before.count("\n") + 1
