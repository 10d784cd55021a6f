"""The documents of one raw file, with what finds duplicates and evaluation texts among many files.

A file is read without the others, so each file can be a job of its own. Written for each document:
its text, source and id, a digest, its bands, its number of words, and whether it holds an
evaluation text.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llmill.contract import elsewhere
from llmill.contract.errors import UserError
from llmill.contract.known import SOURCES
from llmill.text.corpus import documents, duplicates
from llmill.text.corpus.batches import Hashes, batches
from llmill.text.corpus.contamination import EvaluationTexts
from llmill.text.corpus.documents import Document
from llmill.text.corpus.spool import Spool
from llmill.text.download import local
from llmill.text.download.listed import read_sources
from llmill.text.files import endings

DIGESTS, WORDS, HELD, BANDS = "digests", "words", "held", "bands"
TOGETHER = 4096  # documents whose rows are in memory at a time


@dataclass(frozen=True)
class TextFile:
    """A raw file, and how its source is read."""

    path: Path
    entry: dict[str, Any]  # its source in `sources.json`

    def read(self, passage_words: int) -> Iterator[Document]:
        """Yield the file's documents, in order."""
        entry = self.entry
        how = {key: entry[key] for key in ("column", "encoding") if key in entry}
        with local.own_names(self.path.parent, entry.get("own", {})):
            yield from documents.read(
                [self.path], entry["name"], entry["format"], passage_words, **how
            )


def text_files(folder: Path) -> list[TextFile]:
    """Return the text files of every source, in the order of `sources.json`."""
    listed, found = folder / SOURCES, []
    for entry in read_sources(folder):
        paths = [elsewhere.inside(folder, file["path"], listed) for file in entry["files"]]
        files = [TextFile(path, entry) for path in paths if endings.of(path.name)]
        if not files:
            raise UserError(f"{folder / entry['name']}: no files of text; run stage download again")
        found += files
    return found


def write(
    folder: Path, found: Iterable[Document], wanted: EvaluationTexts, bands: duplicates.Bands
) -> None:
    """Write the data about documents, in order. Memory holds one batch of them."""
    with (
        Spool(folder) as spool,
        (folder / DIGESTS).open("wb") as digests,
        (folder / WORDS).open("wb") as words,
        (folder / HELD).open("wb") as held,
        (folder / BANDS).open("wb") as keys,
    ):

        def texts() -> Iterator[str]:
            for document in spool.keep(found):
                digests.write(duplicates.digest(document.text))
                yield document.text

        for batch in batches(texts(), Hashes()):
            words.write(batch.sizes.astype(np.uint32).tobytes())
            held.write(wanted.in_documents(batch).tobytes())
            keys.write(bands.keys(batch).tobytes())


def rows(folder: Path, name: str, kind: type[np.generic], width: int = 1) -> Iterator[np.ndarray]:
    """Yield what was written about the documents under a name, in blocks. (n, width)"""
    with (folder / name).open("rb") as file:
        while block := file.read(TOGETHER * width * np.dtype(kind).itemsize):
            yield np.frombuffer(block, dtype=kind).reshape(-1, width)
