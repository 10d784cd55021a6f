"""Questions in MMLU's format, whose answers cannot be guessed from how often they are right."""

from collections import Counter

import pytest

from llmill.contract.known import NEWS, WORLD
from llmill.world.facts import by_relation, facts
from llmill.world.phrasing import texts
from llmill.world.questions import LEVELS
from llmill.world.split import part


def test_there_are_at_least_500_test_questions_and_five_of_each_subject_for_dev(made):
    of_world = made[WORLD]
    assert len(of_world["test"]) >= 500
    dev = Counter(question.subject for question in of_world["dev"])
    assert dev == dict.fromkeys(LEVELS[WORLD], 5)
    assert {question.subject for question in of_world["val"]} == set(LEVELS[WORLD])


def test_there_are_at_least_100_test_questions_about_news(made):
    of_news = made[NEWS]
    assert len(of_news["test"]) >= 100
    dev = Counter(question.subject for question in of_news["dev"])
    assert dev == {"regions": 5, "cinema": 5, "sports": 5}
    assert {question.subject for question in of_news["val"]} == set(dev)


def test_levels_go_from_one_fact_to_two_hops():
    assert LEVELS[WORLD]["geography"] == "one_fact"
    assert LEVELS[WORLD]["unseen_phrasing"] == "unseen_phrasing"
    assert LEVELS[WORLD]["comparisons"] == "comparison"
    assert LEVELS[WORLD]["arithmetic"] == "arithmetic"
    assert LEVELS[WORLD]["two_hops"] == "two_hops"


def test_news_has_a_level_of_its_own():
    assert LEVELS[NEWS] == {"regions": "news", "cinema": "news", "sports": "news"}


def test_no_subject_has_more_test_questions_than_asked_for(settings, test_rows):
    assert max(len(rows) for rows in test_rows.values()) <= settings.questions


@pytest.mark.parametrize("source", [WORLD, NEWS])
def test_choices_are_four_different_ones_and_the_right_one_is_the_facts(made, source):
    for asked in made[source].values():
        for question in asked:
            assert len(set(question.choices)) == 4
            if question.fact:
                assert question.choices[question.answer] == question.fact.value
                values = {fact.value for fact in by_relation()[question.fact.relation]}
                assert set(question.choices) <= values


def test_answers_are_right_where_they_can_be_computed(made):
    operations = {"plus": int.__add__, "minus": int.__sub__, "times": int.__mul__}
    asked = [question for question in made[WORLD]["test"] if question.subject == "arithmetic"]
    assert len(asked) > 20
    for question in asked:
        _, _, a, word, b = question.text.rstrip("?").split()
        right = operations[word](int(a), int(b))
        assert question.choices[question.answer] == str(right)


def test_the_letters_are_balanced(made):
    letters = Counter(question.answer for question in made[WORLD]["test"])
    assert min(letters.values()) > 0.18 * sum(letters.values())


@pytest.mark.parametrize("source", [WORLD, NEWS])
def test_the_most_frequent_value_is_no_better_than_a_guess(made, source):
    """Who knows only how often each value occurs stays near 25 %."""
    frequency = {
        relation: Counter(fact.value for fact in of_relation)
        for relation, of_relation in by_relation().items()
    }
    asked = [question for question in made[source]["test"] if question.fact]
    right = 0.0
    for question in asked:
        counts = [frequency[question.fact.relation][choice] for choice in question.choices]
        best = [i for i, count in enumerate(counts) if count == max(counts)]
        right += (question.answer in best) / len(best)
    assert right / len(asked) < 0.33


def test_unseen_phrasings_stand_in_no_training_text(settings, documents):
    corpus = "\n".join(document for of_file in documents.values() for document in of_file)
    train = [fact for fact in facts() if part(fact.entity) == "train"]
    assert not any(text in corpus for fact in train[::20] for text in texts(fact, "unseen"))
