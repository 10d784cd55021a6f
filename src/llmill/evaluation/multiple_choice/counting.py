"""Accuracy on multiple-choice questions: overall, by level and by subject. The intervals treat
questions about one entity or passage as a cluster.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmill.evaluation.multiple_choice.choices import Scores
from llmill.evaluation.multiple_choice.units import UNITS, Unit
from llmill.evaluation.statistics import calibration, intervals
from llmill.tasks.multiple_choice import Question


@dataclass(frozen=True)
class Counting:
    """The questions, the level of each subject, the cluster of each question, the confidence."""

    questions: Sequence[Question]
    levels: Mapping[str, str]
    clusters: Sequence[Hashable]
    confidence: float

    def figures(self, scores: Scores, blind: Scores, headline: Unit) -> dict[str, Any]:
        """Return accuracies by the headline's unit: overall, as the mean over subjects, by level
        and by subject. Add those by every unit, the blind one, and the expected calibration error
        of the choices' probabilities (by plain sums).
        """
        right = self._right(scores.picks(headline))
        subject_of = [q.subject for q in self.questions]
        answers = np.array([q.answer for q in self.questions])
        return {
            "all": self._share(right, range(len(right))),
            "subject_mean": mean_over_groups(
                right, subject_of, self.clusters, confidence=self.confidence
            ),
            "levels": self._levels(right),
            "subjects": self._shares(right, subject_of),
            "by": {unit: self.of(scores.picks(unit)) for unit in UNITS},
            "blind": self.of(blind.picks(headline))["all"],
            "calibration_error": round(calibration.expected_error(scores.logits(), answers), 6),
        }

    def of(self, picks: Sequence[int]) -> dict[str, Any]:
        """Return the accuracy of picks, overall and by level."""
        right = self._right(picks)
        return {"all": self._share(right, range(len(right))), "levels": self._levels(right)}

    def baseline(self, picks: Sequence[Sequence[int]]) -> intervals.Interval:
        """Return the accuracy of one who guesses among the picks of each question: of k picks, the
        right one counts 1/k. A pick of the first would measure the order of the choices.
        """
        right = [
            (q.answer in several) / len(several)
            for several, q in zip(picks, self.questions, strict=True)
        ]
        return self._share(right, range(len(right)))

    def _right(self, picks: Sequence[int]) -> list[bool]:
        return [pick == q.answer for pick, q in zip(picks, self.questions, strict=True)]

    def _levels(self, right: Sequence[bool]) -> dict[str, intervals.Interval]:
        return self._shares(right, [self.levels.get(q.subject) for q in self.questions])

    def _shares(
        self, right: Sequence[bool], groups: Sequence[str | None]
    ) -> dict[str, intervals.Interval]:
        numbers = defaultdict(list)
        for number, group in enumerate(groups):
            if group is not None:
                numbers[group].append(number)
        return {group: self._share(right, which) for group, which in sorted(numbers.items())}

    def _share(self, right: Sequence[float], which: Sequence[int]) -> intervals.Interval:
        hits, clusters = [right[i] for i in which], [self.clusters[i] for i in which]
        return intervals.share_of_items(hits, clusters, self.confidence)


def mean_over_groups(
    right: Sequence[bool],
    groups: Sequence[Hashable],
    clusters: Sequence[Hashable],
    *,
    confidence: float,
) -> intervals.Interval:
    """Return the unweighted mean of the accuracies of groups, such as subjects.

    Groups that share no cluster are independent, so `mean_of_shares` gives the interval. Otherwise
    each item weighs 1 / (number of groups * items of its group), and the contributions of the items
    of a cluster are summed.
    """
    rows: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    if len(set(zip(groups, clusters, strict=True))) == len(set(clusters)):
        return intervals.mean_of_shares(
            [
                intervals.share_of_items(
                    [right[i] for i in which], [clusters[i] for i in which], confidence
                )
                for which in rows.values()
            ]
        )
    hits = np.asarray(right, dtype=float)
    value = float(np.mean([hits[which].mean() for which in rows.values()]))
    parts = np.empty_like(hits)
    for which in rows.values():
        n = len(which)
        # Each item pulls its group's share towards itself; a lone item is the whole share.
        expected = hits[which].mean() if n > 1 else value
        drawn = math.sqrt(n / (n - 1)) if n > 1 else 1.0
        parts[which] = (hits[which] - expected) * drawn / (n * len(rows))
    return intervals.clustered_sum(value, parts, clusters, confidence)
