"""Which questions share something, and so are right or wrong together."""

from collections.abc import Mapping, Sequence

from llmill.tasks.multiple_choice import Question


def clusters_of(questions: Sequence[Question], entities: Mapping[str, str]) -> list[int]:
    """The number of the first question about the same entity, or below the same passage (all above
    the last line); of a question by itself, its own.
    """
    clusters: list[int] = []
    first: dict[str, int] = {}
    for number, question in enumerate(questions):
        passage = question.question.strip().rpartition("\n")[0]
        shared = entities.get(question.question) or passage
        clusters.append(first.setdefault(shared, number) if shared else number)
    return clusters
