"""Which questions share something, and so are right or wrong together."""

from collections.abc import Hashable, Mapping, Sequence

from llmill.tasks.multiple_choice import Question


def clusters_of(questions: Sequence[Question], entities: Mapping[str, str]) -> list[Hashable]:
    """What a question shares with others: the entity it is about, or the passage above its last
    line; of a question by itself, its number.
    """
    clusters: list[Hashable] = []
    for number, question in enumerate(questions):
        passage = question.question.strip().rpartition("\n")[0]
        clusters.append(entities.get(question.question) or passage or number)
    return clusters
