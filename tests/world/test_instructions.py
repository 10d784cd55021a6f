"""Instructions: many kinds, distinct prompts, one right output and wrong ones that differ from it."""

import json
from collections import Counter
from random import Random

import pytest

from llmill.contract.errors import UserError
from llmill.world import instructions
from llmill.world.lexicon import roman
from llmill.world.skills import SKILLS
from llmill.world.split import part


@pytest.fixture(scope="module")
def entries(world):
    return json.loads((world / "instruction/instruction-data.json").read_text(encoding="utf-8"))


def test_there_are_6000_of_at_least_8_kinds(entries):
    assert len(entries) == 6000
    kinds = Counter(entry["kind"] for entry in entries)
    assert len(kinds) >= 8
    assert min(kinds.values()) >= 25


def test_prompts_are_distinct(entries):
    assert len({(e["instruction"], e["input"]) for e in entries}) == len(entries)


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
        said = SKILLS["arithmetic"](Random(seed)).output
        assert part(said.removesuffix(".").split(" is ")[0]) == "train"


def test_roman_numerals_are_written_like_the_romans_did():
    assert [roman(n) for n in (1, 4, 9, 14, 40, 49, 90, 99)] == (
        ["I", "IV", "IX", "XIV", "XL", "XLIX", "XC", "XCIX"]
    )


def test_more_instructions_than_the_world_has_are_refused_in_one_line(settings, monkeypatch):
    draft = SKILLS["plural"](Random(0))
    monkeypatch.setattr(instructions, "SKILLS", {"plural": lambda rng: draft})
    with pytest.raises(UserError, match=r"download\.world\.instructions"):
        instructions.make(settings.model_copy(update={"instructions": 200}))
