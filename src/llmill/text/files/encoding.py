"""Decodes the bytes of a text file, in the same way for every file that a user brings.

Input: the bytes, at once or in blocks, and the encoding if the user named one. Output: the text
without a byte-order mark, with \\n at the end of each line. Without a name it is UTF-8 or UTF-16,
which can be recognized for certain. Nothing else is guessed, because every byte is valid in cp1252
and similar encodings.
"""

import codecs
import difflib
import io
import sys
from collections.abc import Iterable, Iterator
from encodings.aliases import aliases
from itertools import chain, pairwise
from pathlib import Path

from llmill.contract.errors import SettingError, UserError

MARKS = (  # longer marks first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
MARK = "\ufeff"  # as a character
FEW = 10  # in UTF-16, at most one NUL in so many is in the other byte
EXAMPLES = "cp1252, latin-1, utf-16, gb18030, shift_jis"


def decode(data: bytes, path: Path, encoding: str | None) -> str:
    """Return the text of a file. Like `decoded`, for a file that is in memory."""
    return "".join(decoded([data], path, encoding))


def decoded(blocks: Iterable[bytes], path: Path, encoding: str | None) -> Iterator[str]:
    """Yield the text of a file in pieces, as its bytes come in blocks.

    `path` names the file in errors. `encoding` is the user's, or None: the first block then decides
    (of at least four bytes, if the file has them). Raises `UserError` for an unknown encoding, for
    bytes that do not fit it, with their row and offset, and for NUL characters, which occur in
    binary files.
    """
    blocks = iter(blocks)
    first = next(blocks, b"")
    name = check(encoding, str(path)) if encoding is not None else _recognized(first)
    name = _in_blocks(name, first)
    decoder = codecs.getincrementaldecoder(name)()
    plain = io.IncrementalNewlineDecoder(None, translate=True)
    read, row, has_nul, mark = 0, 1, False, MARK
    for block, after in pairwise(chain([first], blocks, [b""])):
        is_last = not after
        read += len(block)
        has_nul = has_nul or b"\0" in block
        try:
            text = plain.decode(decoder.decode(block, is_last), is_last)
        except UnicodeError as error:
            good, left = _good(error, block)
            row += plain.decode(good.decode(name, "replace"), final=True).count("\n")
            where, at = f"{path}, row {row}", f"at byte {read - left}"
            if encoding is not None:
                raise _not_as_named(where, at, encoding) from None
            is_binary = has_nul or any(b"\0" in rest for rest in chain([after], blocks))
            raise _not_recognized(where, at, name, is_binary) from None
        if "\0" in text:
            row += text.count("\n", 0, text.index("\0"))
            raise SettingError(
                f"{path}, row {row}: a NUL character, which no text has; it is a binary file, or ",
                as_key="encoding must be set to its own, e.g. utf-16-le",
                as_option="name its encoding, e.g. --encoding utf-16-le",
            )
        row += text.count("\n")
        if text:
            yield text.removeprefix(mark)
            mark = ""


def _good(error: UnicodeError, block: bytes) -> tuple[bytes, int]:
    """Return the bytes before the wrong ones, and how many bytes remain in the block from there.

    They may begin in the block before, if a character is unfinished there.
    """
    if not isinstance(error, UnicodeDecodeError):  # the codec does not say where it failed
        return b"", len(block)
    return error.object[: error.start], len(error.object) - error.start


def _not_as_named(where: str, at: str, encoding: str) -> UserError:
    return SettingError(
        f"{where}: not {encoding} {at}, ",
        as_key="as its `encoding` says; name another",
        as_option="as --encoding says; name another",
    )


def _not_recognized(where: str, at: str, name: str, is_binary: bool) -> UserError:
    if is_binary:
        return UserError(f"{where}: not text in {name.upper()} {at} but a binary file")
    return SettingError(
        f"{where}: not {name.upper()} {at}; ",
        as_key="set encoding to its own, e.g. cp1252",
        as_option="name its own, e.g. --encoding cp1252",
    )


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


def _in_blocks(name: str, data: bytes) -> str:
    """Return the encoding in which a text that begins so is decoded in blocks: in the byte order
    that its mark names, otherwise in the machine's, and with the mark as a character of the text.
    """
    if name == "utf-8-sig":
        return "utf-8"
    if name not in ("utf-16", "utf-32"):
        return name
    marked = (each for mark, each in MARKS if each.startswith(name) and data.startswith(mark))
    return next(marked, f"{name}-{sys.byteorder[0]}e")
