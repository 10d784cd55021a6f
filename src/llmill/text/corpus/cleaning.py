"""Removes documents that duplicate another one or hold an evaluation text.

Input: what `intake` wrote about the documents of each file, in order. Output: all documents in one
spool, and for each removed document the reason. Memory holds five bytes per document, and blocks of
rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from llmill.contract.progress import Progress, in_silence
from llmill.text.corpus import duplicates, intake
from llmill.text.corpus.batches import Hashes
from llmill.text.corpus.spool import Spool
from llmill.text.settings import NearDuplicates

REASONS = ("exact_duplicate", "evaluation_text", "near_duplicate")
EXACT, EVALUATION, NEAR = range(1, len(REASONS) + 1)
KEPT = 0


class Cleaned:
    """The documents that were read, and whether each of them is kept."""

    def __init__(
        self,
        parts: Iterable[tuple[str, Path]],
        settings: NearDuplicates,
        spool: Spool,
        folder: Path,
        progress: Progress = in_silence,
    ):
        """`parts`: sources with the folders that `intake.write` wrote, in order. `folder` receives
        intermediate files.
        """
        self.spool = spool
        parts = list(parts)
        exact = duplicates.Exact(folder)
        sizes = []
        for source, part in parts:
            sizes.append(spool.add(part, source))
            for digests in intake.rows(part, intake.DIGESTS, np.uint64, 2):
                exact.add(digests)
        self.reason = np.zeros(spool.n, dtype=np.uint8)  # why each document is removed, or KEPT
        for numbers in exact.repeats():
            self.reason[numbers] = EXACT
        self.words = np.zeros(spool.n, dtype=np.uint32)  # of each document
        near = duplicates.Near(settings, folder)
        start, n_bands = 0, duplicates.Bands(settings).n
        for (_, part), size in zip(parts, sizes, strict=True):
            self._look(part, n_bands, start, near)
            start += size
        hashes = Hashes()

        def words(number: int) -> np.ndarray:
            progress(number + 1, spool.n)
            return hashes.of(spool.text(number))

        for number in near.repeats(words):
            self.reason[number] = NEAR

    def _look(self, part: Path, n_bands: int, start: int, near: duplicates.Near) -> None:
        """Mark documents that hold an evaluation text, and pass the others' bands to `near`."""
        blocks = zip(
            intake.rows(part, intake.WORDS, np.uint32),
            intake.rows(part, intake.HELD, np.bool_),
            intake.rows(part, intake.BANDS, np.uint64, n_bands),
            strict=True,
        )
        for words, held, keys in blocks:
            end = start + len(words)
            reason = self.reason[start:end]
            reason[(reason == KEPT) & held[:, 0]] = EVALUATION
            self.words[start:end] = words[:, 0]
            left = np.flatnonzero(reason == KEPT)
            near.add(start + left, words[left, 0], keys[left])
            start = end

    @property
    def n_kept(self) -> int:
        """The number of documents that are kept."""
        return int((self.reason == KEPT).sum())

    def by_source(self) -> dict[str, dict[str, Any]]:
        """Return the number of documents read, removed by reason and kept, and of words kept."""
        counts: Counter[tuple[str, int]] = Counter()
        words: Counter[str] = Counter()
        for number, (source, _) in enumerate(self.spool.named()):
            reason = int(self.reason[number])
            counts[source, reason] += 1
            words[source] += int(self.words[number]) if reason == KEPT else 0
        return {
            source: {
                "read": read,
                **{name: counts[source, code] for code, name in enumerate(REASONS, 1)},
                "kept": counts[source, KEPT],
                "words": words[source],
            }
            for source, read in self.spool.read.items()
        }
