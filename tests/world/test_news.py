"""News: facts that the world does not know, so that learning them later can be measured."""

import re
from collections import Counter

import pytest

from llmill.contract.known import NEWS
from llmill.world.facts import by_relation, facts
from llmill.world.phrasing import phrasings, texts
from llmill.world.split import mentions_held_out, part, plain

RELATIONS = ("province_capital", "film_director", "sport")


def test_there_are_at_least_300_facts_in_three_subjects():
    assert len(facts(NEWS)) >= 300
    assert {fact.subject for fact in facts(NEWS)} == {"regions", "cinema", "sports"}
    assert {fact.relation for fact in facts(NEWS)} == set(RELATIONS)


@pytest.mark.parametrize(
    ("relation", "entity", "value"),
    [
        ("province_capital", "Bavaria", "Munich"),
        ("province_capital", "Queensland", "Brisbane"),
        ("film_director", "Citizen Kane", "Orson Welles"),
        ("film_director", "Spirited Away", "Hayao Miyazaki"),
        ("sport", "Roger Federer", "tennis"),
        ("sport", "Ayrton Senna", "motor racing"),
    ],
)
def test_a_fact_that_everybody_knows_is_there(relation, entity, value):
    assert (entity, value) in [(f.entity, f.value) for f in by_relation()[relation]]


@pytest.mark.parametrize("relation", RELATIONS)
def test_the_commonest_value_of_a_relation_is_no_good_guess(relation):
    counts = Counter(fact.value for fact in by_relation()[relation])
    assert len(counts) >= 6
    assert max(counts.values()) <= len(by_relation()[relation]) / 12


@pytest.mark.parametrize("relation", RELATIONS)
def test_a_relation_is_said_in_five_ways_and_asked_in_three(relation):
    assert len(set(phrasings()[relation]["say"])) >= 5
    assert len(set(phrasings()[relation]["ask"])) >= 3


def test_nothing_made_from_the_world_names_an_entity_of_the_news(world):
    """Whatever the case, as whole words; so no pair of entity and value stands there either."""
    news = {f"{fact.subject}_{split}" for fact in facts(NEWS) for split in ("dev", "val", "test")}
    news.add("entities")  # which says of questions about the news whom they are about
    files = [file for file in world.rglob("*") if file.is_file() and file.stem not in news]
    read = [file for file in files if file.parent.name != NEWS]
    text = "\n".join(file.read_text(encoding="utf-8") for file in read).lower()
    assert "the capital of france is paris" in text
    names = [plain(fact.entity) for fact in facts(NEWS)]
    near = [name for name in names if name in text]  # the words are looked for in few only: slow
    assert [name for name in near if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)] == []


def test_every_file_tells_every_fact_of_its_subject(news):
    for fact in facts(NEWS):
        told = "\n".join(news[f"{fact.subject}.txt"])
        assert any(sentence in told for sentence in texts(fact, "say")), fact


def test_every_train_fact_is_asked_about_and_no_other(news):
    asked = "\n".join(news["questions.txt"])
    for fact in facts(NEWS):
        found = any(f"{question}\n" in asked for question in texts(fact, "ask"))
        assert found == (part(fact.entity) == "train" and not mentions_held_out(fact.value)), fact


def test_most_train_facts_can_be_asked_about():
    train = [fact for fact in facts(NEWS) if part(fact.entity) == "train"]
    left_out = [fact.entity for fact in train if mentions_held_out(fact.value)]
    assert len(left_out) <= len(train) / 20, left_out


@pytest.mark.parametrize("relation", RELATIONS)
def test_a_question_in_itself_names_nothing_that_is_held_out(relation):
    for question in phrasings()[relation]["ask"]:
        assert not mentions_held_out(question.format(e="it"))
