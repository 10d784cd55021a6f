"""Finds documents that hold a text on which models are later tested."""

from collections.abc import Iterable

import numpy as np

from llmill.text.settings import Contamination
from llmill.text.words import WordHashes, hashes, runs


class EvaluationTexts:
    """Texts to look for: `words` consecutive words of a long one, the whole of a shorter one.

    A text of fewer than `shortest` words is found only where it is the whole document.
    """

    def __init__(self, texts: Iterable[str], settings: Contamination, table: WordHashes):
        self.texts = self.too_short = 0
        self.words, self.shortest = settings.words, settings.shortest
        lengths: dict[int, list[np.ndarray]] = {}
        for text in texts:
            words = hashes(text, table)
            if len(words):
                length = min(len(words), self.words)
                lengths.setdefault(length, []).append(runs(words, length))
                self.texts += 1
                self.too_short += length < self.shortest
        self.runs = {n: np.unique(np.concatenate(parts)) for n, parts in sorted(lengths.items())}

    def in_document(self, words: np.ndarray) -> bool:
        """Whether a document, given as its words' hashes, holds one of the texts."""
        return any(
            _share_one(runs(words, length), text_runs)
            for length, text_runs in self.runs.items()
            if length >= self.shortest or length == len(words)
        )


def _share_one(document_runs: np.ndarray, text_runs: np.ndarray) -> bool:
    places = np.searchsorted(text_runs, document_runs)
    places[places == len(text_runs)] = 0
    return bool((text_runs[places] == document_runs).any())
