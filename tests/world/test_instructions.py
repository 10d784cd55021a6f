"""Instructions: many kinds, distinct prompts, one right output and wrong ones that differ from it."""

import json
import re
from collections import Counter
from random import Random

import pytest

from llmill.contract.errors import UserError
from llmill.world import corpus, instructions
from llmill.world.lexicon import roman
from llmill.world.skills import SKILLS
from llmill.world.split import part
from tests.conftest import preset


@pytest.fixture(scope="module")
def entries(world):
    return json.loads((world / "instruction/instruction-data.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=["the settings of these tests", "the preset"])
def apart(request, entries, documents):
    """The entries and the documents; what is rare may be in one draw and not in another."""
    if request.param == "the preset":
        settings = preset("world").download.world
        made = instructions.make(settings)
        return [task.entry for task in made], corpus.documents(settings)
    return entries, documents


def test_there_are_6000_of_at_least_8_kinds(entries):
    assert len(entries) == 6000
    kinds = Counter(entry["kind"] for entry in entries)
    assert len(kinds) >= 8
    assert min(kinds.values()) >= 25


def test_no_task_is_another_one_in_other_words_or_in_another_order(apart):
    entries, _ = apart
    asked = [sorted(re.findall(r"\w+", e["input"] or e["output"])) for e in entries]
    assert len({tuple(words) for words in asked}) == len(entries)
    short = [e["output"] for e in entries if e["kind"] == "summary"]
    assert len(set(short)) == len(short) > 150


def test_the_text_holds_no_sentence_or_list_that_an_instruction_is_about(apart):
    entries, documents = apart
    text = "\n".join(document for of_file in documents.values() for document in of_file)
    inputs = [e["input"] for e in entries if e["input"]]
    assert len(inputs) > 2500
    assert [each for each in inputs if each in text] == []


def test_the_text_holds_no_answer_right_or_wrong_that_is_a_sentence_of_daily_life(apart):
    entries, documents = apart
    text = "\n".join(document for of_file in documents.values() for document in of_file)
    kinds = {"passive voice", "summary", "tense", "asking", "plural"}
    answers = [a for e in entries if e["kind"] in kinds for a in (e["output"], *e["wrong"])]
    assert len(answers) > 4000
    assert [each for each in answers if each in text] == []


def test_a_sentence_to_rewrite_is_no_answer_of_another_task(apart):
    entries, _ = apart
    inputs = {e["input"] for e in entries if e["input"].endswith(".")}
    assert len(inputs) > 1200
    assert not inputs & {e["output"] for e in entries}


def test_no_sum_of_an_instruction_stands_in_the_text_in_either_order(apart):
    entries, documents = apart

    def name(a, word, b):
        return (a, word, b) if word == "minus" else (*sorted((a, b), key=int), word)

    pattern = re.compile(r"\b(\d+) (plus|minus|times) (\d+)\b")
    told = {
        name(*of)
        for documents_ in documents.values()
        for d in documents_
        for of in pattern.findall(d)
    }
    asked = {name(*of) for e in entries for of in pattern.findall(e["output"])}
    assert len(told) > 300 and len(asked) > 200
    assert not told & asked


def test_a_wrong_answer_is_never_a_right_one(entries):
    for entry in entries:
        right = {entry["output"], *entry["paraphrases"]}
        assert 2 <= len(entry["wrong"]) <= 3
        assert len(set(entry["wrong"])) == len(entry["wrong"])
        assert not right & set(entry["wrong"]), entry


def test_answers_are_short(entries):
    assert max(len(entry["output"].split()) for entry in entries) <= 25


def test_a_preference_pair_chooses_the_reference_over_a_wrong_answer(world, entries):
    file = world / "preference/instruction-data-with-preference.json"
    pairs = json.loads(file.read_text(encoding="utf-8"))
    assert len(pairs) == len(entries)
    for pair, entry in zip(pairs, entries, strict=True):
        assert list(pair) == ["instruction", "input", "output", "chosen", "rejected"]
        assert pair["chosen"] == entry["output"]
        assert pair["rejected"] in entry["wrong"]


@pytest.mark.parametrize("kind", sorted(SKILLS))
def test_a_skill_never_offers_the_right_answer_as_wrong(kind):
    for seed in range(300):
        draft = SKILLS[kind](Random(seed))
        right = {draft.output, *draft.paraphrases}
        assert not right & set(draft.wrong), draft
        assert len(set(draft.wrong)) == len(draft.wrong), draft


def test_a_sum_that_a_question_may_ask_for_is_no_instruction():
    for seed in range(300):
        a, word, b = SKILLS["arithmetic"](Random(seed)).output.split(" is ")[0].split()
        if word == "plus":
            a, b = sorted((a, b), key=int)
        assert part(f"{a} {word} {b}") == "train"


def test_roman_numerals_are_written_like_the_romans_did():
    assert [roman(n) for n in (1, 4, 9, 14, 40, 49, 90, 99)] == (
        ["I", "IV", "IX", "XIV", "XL", "XLIX", "XC", "XCIX"]
    )


def test_more_instructions_than_the_world_has_are_refused_in_one_line(settings, monkeypatch):
    draft = SKILLS["plural"](Random(0))
    monkeypatch.setattr(instructions, "SKILLS", {"plural": lambda rng: draft})
    with pytest.raises(UserError, match=r"download\.world\.instructions"):
        instructions.make(settings.model_copy(update={"instructions": 200}))
