"""Tables and wordings: how many facts there are, and that each is one."""

from collections import Counter

import pytest

from llmill.world.facts import FOLDER, TABLES, Fact, by_relation, facts, values
from llmill.world.phrasing import phrasings, texts
from llmill.world.split import plain


def test_there_are_at_least_1500_facts_in_at_least_8_subjects():
    assert len(facts()) >= 1500
    assert len({fact.subject for fact in facts()}) >= 8


@pytest.mark.parametrize(
    ("relation", "entity", "value"),
    [
        ("capital", "France", "Paris"),
        ("atomic_number", "iron", "26"),
        ("author", "Moby-Dick", "Herman Melville"),
        ("spanish", "dog", "perro"),
        ("young", "kangaroo", "joey"),
        ("planet", "Titan", "Saturn"),
        ("past_tense", "go", "went"),
        ("currency", "Japan", "yen"),
    ],
)
def test_a_fact_that_everybody_knows_is_there(relation, entity, value):
    assert (entity, value) in [(f.entity, f.value) for f in by_relation()[relation]]


def test_a_relation_gives_each_entity_one_value():
    twice = Counter((f.relation, f.entity) for source in TABLES for f in facts(source))
    assert [key for key, count in twice.items() if count > 1] == []


def test_every_relation_has_enough_values_for_three_wrong_choices():
    assert min(len(of_relation) for of_relation in values().values()) >= 4


def test_every_table_is_used():
    tables = [table for of_source in TABLES.values() for table in of_source]
    assert sorted(file.stem for file in FOLDER.glob("*.csv")) == sorted(tables)


def test_a_subject_and_an_entity_belong_to_one_source():
    subjects = [set(of_source.values()) for of_source in TABLES.values()]
    assert not set.intersection(*subjects)
    entities = [{plain(fact.entity) for fact in facts(source)} for source in TABLES]
    assert not set.intersection(*entities)


def test_every_relation_is_said_in_four_ways_and_asked_in_three():
    assert set(phrasings()) == set(by_relation())
    for relation, uses in phrasings().items():
        assert len(set(uses["say"])) >= 4, relation
        assert len(set(uses["ask"])) >= 3, relation


def test_a_relation_of_the_world_is_also_told_in_two_ways_and_asked_in_one_unseen():
    for relation in {fact.relation for fact in facts()}:
        uses = phrasings()[relation]
        assert len(set(uses["unseen"])) >= 1, relation
        assert len(set(uses["tell"])) >= 2, relation


def test_no_wording_is_used_for_two_purposes():
    for uses in phrasings().values():
        every = [template for of_use in uses.values() for template in of_use]
        assert len(set(every)) == len(every)


def test_a_wording_is_filled_with_articles_plurals_and_capitals():
    fact = Fact("animals", "animals", "group_name", "goose", "gaggle")
    assert "A gaggle is a group of geese." in texts(fact, "say")
    owl = Fact("animals", "animals", "young", "owl", "owlet")
    assert "The young of an owl is called an owlet." in texts(owl, "say")
