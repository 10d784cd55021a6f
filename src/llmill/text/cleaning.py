"""Takes out of many documents what repeats another or holds an evaluation text.

In: documents, read once, in order. Out: those documents on disk, and of each why it is removed, if
it is. Memory holds a batch of them, the evaluation texts, and five bytes a document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from llmill.text import duplicates
from llmill.text.batches import Hashes, batches
from llmill.text.contamination import EvaluationTexts
from llmill.text.documents import Document
from llmill.text.settings import NearDuplicates
from llmill.text.spool import Spool

REASONS = ("exact_duplicate", "evaluation_text", "near_duplicate")
EXACT, EVALUATION, NEAR = range(1, len(REASONS) + 1)
KEPT = 0


class Cleaned:
    """Documents that were read, and what is to become of each."""

    def __init__(
        self,
        documents: Iterable[Document],
        evaluation_texts: EvaluationTexts,
        settings: NearDuplicates,
        spool: Spool,
        folder: Path,
        progress: Callable[[int, int], None],
    ):
        """`folder` takes what is written on the way; `progress` is told how many are looked at."""
        self.spool = spool
        texts = (document.text for document in spool.keep(documents))
        repeated = duplicates.exact(texts, folder)
        self.reason = np.zeros(spool.n, dtype=np.uint8)  # why each is removed, or KEPT
        self.words = np.zeros(spool.n, dtype=np.uint32)  # of each that is no exact duplicate
        for numbers in repeated:
            self.reason[numbers] = EXACT
        near, hashes = duplicates.Near(settings, folder), Hashes()
        left, done = self.n_kept, 0
        for batch in batches(((number, spool.text(number)) for number in self.kept()), hashes):
            held = evaluation_texts.in_documents(batch)
            self.words[batch.numbers] = batch.sizes
            self.reason[batch.numbers[held]] = EVALUATION
            near.add(batch, ~held)
            done += len(batch.numbers)
            progress(done, left)
        for number in near.repeats(lambda number: hashes.of(spool.text(number))):
            self.reason[number] = NEAR

    def kept(self) -> Iterator[int]:
        """The numbers of those that are kept so far, in order."""
        return (number for number, reason in enumerate(self.reason) if reason == KEPT)

    @property
    def n_kept(self) -> int:
        """How many are kept."""
        return int((self.reason == KEPT).sum())

    def by_source(self) -> dict[str, dict[str, Any]]:
        """How many documents were read, removed by reason and kept, and the words of those."""
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
