"""Clusters of questions that share an entity or a passage, and so are right or wrong together."""

from collections.abc import Mapping, Sequence

from llmill.tasks.multiple_choice import Question


def clusters_of(questions: Sequence[Question], entities: Mapping[str, str]) -> list[int]:
    """Return for each question the number of the first question with the same entity or passage.

    The passage is all text above the last line. A question that shares neither gets its own number.
    """
    clusters: list[int] = []
    first: dict[str, int] = {}
    for number, question in enumerate(questions):
        passage = question.question.strip().rpartition("\n")[0]
        shared = entities.get(question.question) or passage
        clusters.append(first.setdefault(shared, number) if shared else number)
    return clusters
