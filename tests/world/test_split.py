"""No training question names an entity of a dev, val or test question."""

import json
import re
from collections import Counter

import pytest

from llmill.contract.known import NEWS, WORLD
from llmill.world.facts import facts
from llmill.world.phrasing import texts
from llmill.world.questions import LEVELS
from llmill.world.split import mentions_held_out, names_in, part


def test_an_entity_has_one_part_with_or_without_its_article():
    assert part("the Netherlands") == part("Netherlands")
    assert part("Mercury") == part("mercury")


def test_the_parts_have_about_their_shares():
    share = Counter(part(fact.entity) for fact in facts())
    assert 0.64 < share["train"] / len(facts()) < 0.74
    assert 0.16 < share["test"] / len(facts()) < 0.24


def test_more_of_the_news_is_for_tests():
    share = Counter(part(fact.entity) for fact in facts(NEWS))
    assert 0.39 < share["train"] / len(facts(NEWS)) < 0.49
    assert 0.35 < share["test"] / len(facts(NEWS)) < 0.45


def test_the_longer_of_two_names_is_found():
    assert names_in("The capital of West Virginia is Charleston.") == ["West Virginia"]
    assert names_in("Irony is not iron, but Gold is gold.") == ["iron", "Gold", "gold"]


@pytest.mark.parametrize("source", [WORLD, NEWS])
def test_questions_of_a_part_are_about_entities_of_that_part(made, source):
    for wanted, asked in made[source].items():
        assert {part(q.fact.entity) for q in asked if q.fact} == {wanted}


def test_the_training_questions_of_the_corpus_name_no_held_out_entity(of_each):
    header = "The following are multiple choice questions"
    for document in of_each["questions.txt"]:
        lines = [line for line in document.split("\n") if not line.startswith(header)]
        assert not mentions_held_out("\n".join(lines)), document


def test_no_other_document_asks_about_facts(documents, of_each):
    for name, of_file in of_each.items():
        if name not in ("questions.txt", "everyday.txt"):
            assert not any("?" in document for document in of_file), name
    asked = re.findall(r"[^.?]*\?", "\n".join(documents["everyday.txt"]))
    assert asked and not any(mentions_held_out(question) for question in asked)


def test_no_instruction_and_no_preference_pair_names_a_held_out_entity(world):
    for file in (
        "instruction/instruction-data.json",
        "preference/instruction-data-with-preference.json",
    ):
        for entry in json.loads((world / file).read_text(encoding="utf-8")):
            assert not mentions_held_out(json.dumps(entry, ensure_ascii=False)), entry


@pytest.mark.parametrize("source", [WORLD, NEWS])
def test_a_fact_of_a_test_question_is_said_in_at_least_12_documents(made, documents, news, source):
    files = {WORLD: documents, NEWS: news}[source]
    plain = [d for name, of in files.items() if name != "questions.txt" for d in of]
    by_sentence: dict[str, int] = {}
    for document in plain:
        for sentence in set(document.replace(". ", ".\n").split("\n")):
            by_sentence[sentence] = by_sentence.get(sentence, 0) + 1
    asked = [
        q.fact for q in made[source]["test"] if LEVELS[source][q.subject] in ("one_fact", "news")
    ]
    counts = {}
    for fact in asked:
        counts[fact] = sum(by_sentence.get(s, 0) for s in texts(fact, "say"))
        if ". " in "".join(texts(fact, "say")[0]):  # initials such as J. M. cut the sentence
            counts[fact] = sum(any(s in d for s in texts(fact, "say")) for d in plain)
    assert min(counts.values()) >= 12
