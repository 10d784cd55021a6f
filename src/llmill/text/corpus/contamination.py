"""Finds documents that hold an evaluation text, on which models are later tested."""

import hashlib
from collections.abc import Iterable

import numpy as np

from llmill.text.corpus.batches import DocumentBatch
from llmill.text.corpus.sieve import Sieve
from llmill.text.settings import WordRuns
from llmill.text.words import MULTIPLIER, WordHashes, hashes, runs


class EvaluationTexts:
    """Texts to look for: `words` consecutive words of a long text, or the whole of a shorter one.

    A text of fewer than `shortest` words is found only if it is the whole document.
    """

    def __init__(self, texts: Iterable[str], settings: WordRuns):
        self.texts = self.too_short = 0
        self.words, self.shortest = settings.words, settings.shortest
        table: WordHashes = {}
        lengths: dict[int, list[np.ndarray]] = {}
        for text in texts:
            words = hashes(text, table)
            if len(words):
                length = min(len(words), self.words)
                lengths.setdefault(length, []).append(runs(words, length))
                self.texts += 1
                self.too_short += length < self.shortest
        self.runs = {
            n: Sieve(np.unique(np.concatenate(parts))) for n, parts in sorted(lengths.items())
        }

    @property
    def sha256(self) -> str:
        """A hash of the texts to look for, which does not depend on their order."""
        parts = [np.array([self.words, self.shortest])]
        for length, run in self.runs.items():
            parts += [np.array([length]), run.hashes]
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()

    def in_documents(self, batch: DocumentBatch) -> np.ndarray:
        """Return whether each document holds one of the texts. (documents,)"""
        held = np.zeros(len(batch.ends), dtype=bool)
        hashed = batch.words
        for length in range(1, min(max(self.runs, default=0), len(batch.words)) + 1):
            if length > 1:  # like `words.runs`, from the runs one word shorter
                hashed = hashed[:-1] * MULTIPLIER
                hashed += batch.words[length - 1 :]
            if length not in self.runs:
                continue
            places, _ = self.runs[length].found(hashed)
            document = batch.document(places)
            inside = places + length <= batch.ends[document]
            if length < self.shortest:
                inside &= batch.sizes[document] == length
            held[document[inside]] = True
        return held
