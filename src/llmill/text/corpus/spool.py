"""Documents on disk in the order in which they came, read back by number.

Memory holds none of them. Besides its text, a document has a row with the place of the text, its
source and its id.
"""

import os
import shutil
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import numpy as np

from llmill.text.corpus.documents import Document

ROW = struct.Struct("<QQI32s")  # where the text begins, its bytes, the number of its source, its id
FIELDS = np.dtype([("begin", "<u8"), ("size", "<u8"), ("source", "<u4"), ("id", "V32")])  # the same
ROWS = 4096  # rows read together
TEXTS, ROW_FILE = "texts", "rows"


class Spool:
    """The documents of a folder that nothing else uses."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._texts = (folder / TEXTS).open("w+b")
        self._rows = (folder / ROW_FILE).open("w+b")
        self._number_of: dict[str, int] = {}  # number of each source
        self.read: Counter[str] = Counter()  # documents by source, in the order of the sources
        self.n = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._texts.close()
        self._rows.close()

    def keep(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Write each document and yield it. The last one is on disk when all were yielded."""
        begin = self._texts.seek(0, os.SEEK_END)
        for document in documents:
            text = document.text.encode()
            source = self._number_of.setdefault(document.source, len(self._number_of))
            self._texts.write(text)
            self._rows.write(ROW.pack(begin, len(text), source, bytes.fromhex(document.id)))
            begin += len(text)
            self.read[document.source] += 1
            self.n += 1
            yield document
        self._texts.flush()
        self._rows.flush()

    def add(self, folder: Path, source: str) -> int:
        """Append the documents of another spool's folder, all of one source; return how many."""
        number = self._number_of.setdefault(source, len(self._number_of))
        begin = self._texts.seek(0, os.SEEK_END)
        with (folder / TEXTS).open("rb") as texts:
            shutil.copyfileobj(texts, self._texts)
        added = 0
        with (folder / ROW_FILE).open("rb") as file:
            while block := file.read(ROWS * ROW.size):
                rows = np.frombuffer(block, FIELDS).copy()
                rows["begin"] += begin
                rows["source"] = number
                self._rows.write(rows.tobytes())
                added += len(rows)
        self._texts.flush()
        self._rows.flush()
        self.read[source] += added
        self.n += added
        return added

    def document(self, number: int) -> Document:
        """Return the document with this number, from 0."""
        row = os.pread(self._rows.fileno(), ROW.size, number * ROW.size)
        begin, size, source, identity = ROW.unpack(row)
        return Document(self._text(begin, size), self.sources[source], identity.hex())

    def text(self, number: int) -> str:
        """Return only the text of the document with this number."""
        row = os.pread(self._rows.fileno(), ROW.size, number * ROW.size)
        return self._text(*ROW.unpack(row)[:2])

    def named(self) -> Iterator[tuple[str, str]]:
        """Yield source and id of each document, in order."""
        sources = self.sources
        for start in range(0, self.n, ROWS):
            rows = os.pread(self._rows.fileno(), ROWS * ROW.size, start * ROW.size)
            for _, _, source, identity in ROW.iter_unpack(rows):
                yield sources[source], identity.hex()

    @property
    def sources(self) -> list[str]:
        """The sources by number."""
        return list(self._number_of)

    def _text(self, begin: int, size: int) -> str:
        parts, end = list[bytes](), begin + size  # one call reads 2 GiB at most
        while begin < end and (part := os.pread(self._texts.fileno(), end - begin, begin)):
            parts.append(part)
            begin += len(part)
        return b"".join(parts).decode()
