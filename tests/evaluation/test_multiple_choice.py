"""Prompts to the letter, and which questions are asked."""

import random

import pytest

from llmill.contract.errors import UserError
from llmill.evaluation.multiple_choice.prompts import (
    at_most,
    chance,
    cloze_prompt,
    letter_prompt,
    of_subjects,
    shots_by_subject,
)
from llmill.tasks.multiple_choice import Question, read_raw

SUM = Question("number_theory", "What is 1 + 1?", ["1", "2", "3", "4"], 1)
ROOT = Question("number_theory", "What is the root of 9?", ["1", "2", "3", "4"], 2)
CITY = Question("cities", "Capital of France?", ["Rome", "Paris", "Bern", "Oslo"], 1)


def drawn(n, seed=0):
    rng = random.Random(seed)

    def words():
        return "".join(rng.choices("abcdef ", k=rng.randint(1, 9)))

    return [Question("s", f"{words()} {i}", [words() for _ in "ABCD"], i % 4) for i in range(n)]


def test_the_letter_prompt_is_mmlus_layout():
    assert letter_prompt(SUM, [ROOT]) == (
        "The following are multiple choice questions (with answers) about number theory.\n\n"
        "What is the root of 9?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer: C\n\n"
        "What is 1 + 1?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:"
    )


def test_a_question_stands_without_white_space_round_it_as_in_other_programs():
    spaced = Question("number_theory", " What is 1 + 1? \n", SUM.choices, 1)
    assert letter_prompt(spaced, [ROOT]) == letter_prompt(SUM, [ROOT])


def test_the_cloze_prompt_shows_no_choices():
    assert cloze_prompt(SUM) == "Question: What is 1 + 1?\nAnswer:"


def test_worked_examples_of_the_cloze_format_end_in_their_answers():
    assert cloze_prompt(SUM, [ROOT]) == (
        "Question: What is the root of 9?\nAnswer: 3\n\nQuestion: What is 1 + 1?\nAnswer:"
    )


def test_a_blind_prompt_hides_the_question_but_not_its_examples():
    assert letter_prompt(SUM, [ROOT], blind=True) == (
        "The following are multiple choice questions (with answers) about number theory.\n\n"
        "What is the root of 9?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer: C\n\n"
        "A. 1\nB. 2\nC. 3\nD. 4\nAnswer:"
    )
    assert cloze_prompt(SUM, [ROOT], blind=True) == (
        "Question: What is the root of 9?\nAnswer: 3\n\nAnswer:"
    )


def test_one_who_guesses_gets_the_mean_of_one_in_so_many():
    two = Question("s", "Is it?", ["no", "yes"], 1)
    five = Question("s", "Which?", ["a", "b", "c", "d", "e"], 4)
    assert letter_prompt(five, [two]).endswith(
        "Is it?\nA. no\nB. yes\nAnswer: B\n\nWhich?\nA. a\nB. b\nC. c\nD. d\nE. e\nAnswer:"
    )
    assert chance([two, five]) == pytest.approx(0.35)
    assert chance([CITY, SUM, ROOT]) == 0.25


def test_the_questions_of_a_subject_do_not_depend_on_the_others_in_the_file():
    mine, others = drawn(30), [Question("t", f"{i}?", ["a", "b", "c", "d"], 0) for i in range(9)]
    kept = at_most(mine, 5)
    assert len(kept) == 5
    again = at_most(others + mine[::-1], 5)
    assert [q for q in again if q.subject == "s"] == kept[::-1]
    assert len([q for q in again if q.subject == "t"]) == 5


def test_no_limit_keeps_every_question():
    assert at_most([SUM, CITY], None) == [SUM, CITY]


def test_subjects_are_chosen_by_name_and_none_means_all():
    assert of_subjects([SUM, CITY], ["cities"]) == [CITY]
    assert of_subjects([SUM, CITY], []) == [SUM, CITY]


def test_an_unknown_subject_is_refused_with_the_nearest():
    with pytest.raises(UserError, match=r"no subject 'citys'; did you mean 'cities'\?"):
        of_subjects([SUM, CITY], ["citys"])
    with pytest.raises(UserError, match="there are: cities, number_theory"):
        of_subjects([SUM, CITY], ["xyz"])


def test_too_few_worked_examples_are_refused():
    assert shots_by_subject([SUM, ROOT, CITY], ["cities"], 1) == {"cities": [CITY]}
    with pytest.raises(UserError, match=r"mmlu.shots = 2: subject 'cities' has only 1"):
        shots_by_subject([SUM, ROOT, CITY], ["cities", "number_theory"], 2)
    with pytest.raises(UserError, match=r"mmlu.cloze_shots = 2: .*lower mmlu.cloze_shots or"):
        shots_by_subject([SUM, ROOT, CITY], ["cities"], 2, "cloze_shots")


def test_every_real_subject_has_five_worked_examples_and_all_questions_are_there(real_data):
    dev, test = read_raw(real_data / "mmlu", "dev"), read_raw(real_data / "mmlu", "test")
    assert len(shots_by_subject(dev, [q.subject for q in test], 5)) == 57
    assert len(test) == 14042
    assert len(at_most(test, 20)) == 57 * 20
