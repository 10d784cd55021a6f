"""Prompts to the letter, picks of models whose liking is known, and what happens for want of room."""

import random

import pytest

from llmill.contract.errors import UserError
from llmill.evaluation.multiple_choice import (
    at_most,
    chance,
    cloze_picks,
    cloze_prompt,
    letter_picks,
    letter_prompt,
    of_subjects,
    shots_by_subject,
)
from llmill.tasks.multiple_choice import Question, read_raw
from tests.evaluation.toys import Bigram, bytes_tokenizer, decoder

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


def test_the_cloze_prompt_shows_no_choices():
    assert cloze_prompt(SUM) == "Question: What is 1 + 1?\nAnswer:"


@pytest.mark.parametrize("letter", "ABCD")
def test_a_model_that_likes_a_letter_picks_it(letter):
    model = Bigram([(":", " "), (" ", letter)], block_size=512)
    found = letter_picks(
        model, bytes_tokenizer(), [SUM, CITY], {"number_theory": [], "cities": []}, 4
    )
    assert found.picks == ["ABCD".index(letter)] * 2
    assert (found.shots_dropped, found.prompts_cut) == (0, 0)


def test_a_model_that_likes_a_text_picks_it_in_the_cloze_format():
    likes = [(" ", "B"), ("B", "e"), ("e", "r"), ("r", "n")]
    assert cloze_picks(Bigram(likes), bytes_tokenizer(), [CITY], 4).picks == [2]


def test_questions_may_have_other_numbers_of_choices_side_by_side():
    two = Question("s", "Is it?", ["no", "yes"], 1)
    five = Question("s", "Which?", ["a", "b", "c", "d", "e"], 4)
    assert letter_prompt(five, [two]).endswith(
        "Is it?\nA. no\nB. yes\nAnswer: B\n\nWhich?\nA. a\nB. b\nC. c\nD. d\nE. e\nAnswer:"
    )
    asked = [five, two, CITY, five]
    none = {"s": [], "cities": []}
    likes_e = Bigram([(":", " "), (" ", "E")], block_size=512)  # which two and CITY do not have
    assert letter_picks(likes_e, bytes_tokenizer(), asked, none, 4).picks == [4, 0, 0, 4]
    likes_y = Bigram([(" ", "y"), (" ", "e")])
    assert cloze_picks(likes_y, bytes_tokenizer(), asked, 4).picks == [4, 1, 1, 4]
    assert chance([two, five]) == pytest.approx(0.35)
    assert chance([CITY, SUM, ROOT]) == 0.25


def test_a_longer_answer_is_not_punished_for_its_length():
    question = Question("s", "?", ["b", "xx", "y", "aaaaaaaaaaaa"], 3)
    likes = [(" ", "b"), (" ", "a"), ("a", "a")]
    # as sums " b" is likelier than " aaaaaaaaaaaa"; per byte of the answer the longer one is
    assert cloze_picks(Bigram(likes), bytes_tokenizer(), [question], 4).picks == [3]


def test_length_is_counted_in_bytes_so_a_model_that_likes_nothing_sees_no_difference():
    question = Question("s", "?", ["é", "z", "a long answer", "日本"], 3)
    assert cloze_picks(Bigram([]), bytes_tokenizer(), [question], 4).picks == [0]


def test_equal_choices_tie_and_the_first_is_picked():
    question = Question("s", "?", ["same", "same", "same", "same"], 3)
    assert cloze_picks(decoder(), bytes_tokenizer(), [question], 1).picks == [0]


def test_an_empty_choice_is_no_division_by_zero():
    question = Question("s", "?", ["", "a", "b", "c"], 0)
    assert len(cloze_picks(decoder(), bytes_tokenizer(), [question], 4).picks) == 1


def test_picks_depend_neither_on_batch_size_nor_on_order():
    model, tokenizer, questions = decoder(seed=1, block_size=128), bytes_tokenizer(), drawn(40)
    mixed = random.Random(2).sample(range(40), 40)
    for pick in (
        lambda asked, size: cloze_picks(model, tokenizer, asked, size).picks,
        lambda asked, size: letter_picks(model, tokenizer, asked, {"s": []}, size).picks,
    ):
        alone = pick(questions, 1)
        assert len(set(alone)) > 1
        assert pick(questions, 8) == alone
        assert pick([questions[i] for i in mixed], 8) == [alone[i] for i in mixed]


def test_examples_that_do_not_fit_are_dropped_and_counted():
    shots = {"number_theory": [SUM, ROOT, SUM]}
    bare, one = (len(letter_prompt(ROOT, shots["number_theory"][:n])) + 1 for n in (0, 1))
    roomy = letter_picks(decoder(block_size=512), bytes_tokenizer(), [ROOT], shots, 4)
    tight = letter_picks(decoder(block_size=one + 1), bytes_tokenizer(), [ROOT], shots, 4)
    bareness = letter_picks(decoder(block_size=bare + 1), bytes_tokenizer(), [ROOT], shots, 4)
    too_tight = letter_picks(decoder(block_size=bare), bytes_tokenizer(), [ROOT], shots, 4)
    assert [x.shots_dropped for x in (roomy, tight, bareness, too_tight)] == [0, 2, 3, 3]
    assert [x.prompts_cut for x in (roomy, tight, bareness, too_tight)] == [0, 0, 0, 1]


def test_cloze_prompts_that_lose_their_left_are_counted():
    # 1 + 41 ids of prompt and 6 of the longest answer, of which the last is only predicted
    assert len(cloze_prompt(CITY)) == 36
    for block_size, cut in [(42, 0), (41, 1)]:
        found = cloze_picks(decoder(block_size=block_size), bytes_tokenizer(), [CITY], 4)
        assert found.prompts_cut == cut


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


def test_every_real_subject_has_five_worked_examples_and_all_questions_are_there(real_data):
    dev, test = read_raw(real_data / "mmlu", "dev"), read_raw(real_data / "mmlu", "test")
    assert len(shots_by_subject(dev, [q.subject for q in test], 5)) == 57
    assert len(test) == 14042
    assert len(at_most(test, 20)) == 57 * 20
