"""Picks of models whose liking is known, by each unit; and what happens for want of room."""

import random

import pytest

from llmill.evaluation.inference.scoring import continuation_logprobs
from llmill.evaluation.multiple_choice.choices import (
    Asking,
    Scores,
    cloze_scores,
    letter_scores,
    longest,
    most_shared,
    template_scores,
)
from llmill.evaluation.multiple_choice.prompts import cloze_prompt, letter_prompt
from llmill.tasks.conversation import message
from llmill.tasks.multiple_choice import Question
from llmill.tasks.templates import ALPACA, PLAIN
from llmill.text.tokenization.template import Template
from llmill.text.tokenization.tokenizer import Tokenizer
from tests.evaluation.toys import Bigram, bytes_tokenizer, decoder

SUM = Question("number_theory", "What is 1 + 1?", ["1", "2", "3", "4"], 1)
ROOT = Question("number_theory", "What is the root of 9?", ["1", "2", "3", "4"], 2)
CITY = Question("cities", "Capital of France?", ["Rome", "Paris", "Bern", "Oslo"], 1)
BARE = Asking({})


def letters(model, questions, asking=BARE, batch_size=4):
    return letter_scores(model, bytes_tokenizer(), questions, asking, batch_size)


def clozes(model, questions, asking=BARE, batch_size=4):
    return cloze_scores(model, bytes_tokenizer(), questions, asking, batch_size)


def drawn(n, seed=0):
    rng = random.Random(seed)

    def words():
        return "".join(rng.choices("abcdef ", k=rng.randint(1, 9)))

    return [Question("s", f"{words()} {i}", [words() for _ in "ABCD"], i % 4) for i in range(n)]


@pytest.mark.parametrize("letter", "ABCD")
def test_a_model_that_likes_a_letter_picks_it(letter):
    model = Bigram([(":", " "), (" ", letter)], block_size=512)
    found = letters(model, [SUM, CITY])
    assert found.picks() == ["ABCD".index(letter)] * 2
    assert (found.shots_dropped, found.prompts_cut) == (0, 0)


def test_a_model_that_likes_a_text_picks_it_in_the_cloze_format():
    likes = [(" ", "B"), ("B", "e"), ("e", "r"), ("r", "n")]
    assert clozes(Bigram(likes), [CITY]).picks("byte") == [2]


@pytest.mark.parametrize(
    ("source", "before", "sizes"), [(ALPACA, "\n", [4, 5, 4, 4]), (PLAIN, " ", [5, 6, 5, 5])]
)
def test_in_a_template_a_choice_is_scored_as_the_answer_is_learnt(source, before, sizes):
    """Alpaca's ends the line before an answer; the plain one puts a space there."""
    template = Template(source, bytes_tokenizer())
    likes = Bigram([(before, "B"), ("B", "e"), ("e", "r"), ("r", "n")], block_size=512)
    found = template_scores(likes, template, [CITY], 4)
    assert found.picks("byte") == [2]
    assert found.sizes["byte"] == [sizes]
    conversation = [message("user", CITY.question), message("assistant", "Bern")]
    ids, learnt = template.learnt(conversation)
    assert learnt.count(True) == sizes[2] + 1  # and the end, which is not scored
    first = learnt.index(True)
    slowly = continuation_logprobs(likes, [(ids[:first], ids[first : first + sizes[2]])], 1)
    assert [found.logprobs[0][2]] == pytest.approx(slowly)


def test_where_a_space_joins_the_answer_s_first_word_no_word_goes_unscored():
    """The prompt ends with the space, of which the conversation makes one token with the word."""
    tokenizer = Tokenizer(
        {**{bytes([b]): b for b in range(255)}, b" P": 255}
    )  # the toy has 257 ids
    source = "{{ messages[0].content }} says: {% if not add_generation_prompt %}{{ messages[1].content }}{% endif %}"
    template = Template(source, tokenizer)
    model = decoder(block_size=256)
    found = template_scores(model, template, [Question("c", "Who", ["Pa", "Ne"], 1)], 2)
    assert found.sizes["byte"] == [[3, 3]]
    assert found.sizes["token"] == [[2, 3]]
    expected = [
        continuation_logprobs(model, [([*b"Who says:"], answer)], 1)[0]
        for answer in ([255, ord("a")], [*b" Ne"])
    ]
    assert found.logprobs == [pytest.approx(expected)]


def test_questions_may_have_other_numbers_of_choices_side_by_side():
    two = Question("s", "Is it?", ["no", "yes"], 1)
    five = Question("s", "Which?", ["a", "b", "c", "d", "e"], 4)
    asked = [five, two, CITY, five]
    likes_e = Bigram([(":", " "), (" ", "E")], block_size=512)  # which two and CITY do not have
    assert letters(likes_e, asked).picks() == [4, 0, 0, 4]
    likes_y = Bigram([(" ", "y"), (" ", "e")])
    assert clozes(likes_y, asked).picks("byte") == [4, 1, 1, 4]
    assert clozes(likes_y, asked).logits().shape == (4, 5)
    assert clozes(likes_y, asked).logits()[1, 2] == -float("inf")


def test_a_sum_punishes_long_answers_and_the_other_units_count_what_they_say():
    question = Question("s", "?", ["é", "z", "a long answer", "日本"], 3)
    likes_nothing = clozes(Bigram([]), [question])
    assert likes_nothing.sizes == {
        "sum": [[1, 1, 1, 1]],
        "token": [[3, 2, 14, 7]],
        "byte": [[3, 2, 14, 7]],  # with the space before the answer
        "character": [[1, 1, 13, 2]],
    }
    # each byte of each answer is as likely: so a sum takes the shortest, a mean the first
    assert likes_nothing.picks("sum") == [1]
    assert likes_nothing.picks("byte") == likes_nothing.picks("token") == [0]
    assert likes_nothing.picks("character") == [2]  # 14 bytes for 13 characters


def test_a_longer_answer_is_not_punished_for_its_length_per_byte():
    question = Question("s", "?", ["b", "xx", "y", "aaaaaaaaaaaa"], 3)
    likes = [(" ", "b"), (" ", "a"), ("a", "a")]
    found = clozes(Bigram(likes), [question])
    assert (found.picks("sum"), found.picks("byte")) == ([0], [3])


def test_equal_choices_tie_and_the_first_is_picked():
    question = Question("s", "?", ["same", "same", "same", "same"], 3)
    assert clozes(decoder(), [question], batch_size=1).picks("byte") == [0]


def test_an_empty_choice_is_no_division_by_zero():
    question = Question("s", "?", ["", "a", "b", "c"], 0)
    assert len(clozes(decoder(), [question]).picks("character")) == 1


def test_a_blind_score_is_that_of_the_answers_behind_no_question():
    model = decoder()
    pairs = [([256, *b"Answer:"], list(f" {choice}".encode())) for choice in CITY.choices]
    blind = clozes(model, [CITY], Asking({}, blind=True))
    assert blind.logprobs[0] == pytest.approx(continuation_logprobs(model, pairs, 1), abs=1e-5)


def test_picks_depend_neither_on_batch_size_nor_on_order():
    model, questions = decoder(seed=1, block_size=128), drawn(40)
    mixed = random.Random(2).sample(range(40), 40)
    for score in (letters, clozes):
        alone = score(model, questions, batch_size=1).picks("byte")
        assert len(set(alone)) > 1
        assert score(model, questions, batch_size=64).picks("byte") == alone
        again = score(model, [questions[i] for i in mixed], batch_size=8)
        assert again.picks("byte") == [alone[i] for i in mixed]


@pytest.mark.parametrize("score, prompt", [(letters, letter_prompt), (clozes, cloze_prompt)])
def test_examples_that_do_not_fit_are_dropped_and_counted(score, prompt):
    asking = Asking({"number_theory": [SUM, ROOT, SUM]})
    # the end of text before the prompt, and a choice of two bytes, whose last is only predicted
    bare, one = (len(prompt(ROOT, asking.shots["number_theory"][:n])) + 2 for n in (0, 1))
    found = [score(decoder(block_size=size), [ROOT], asking) for size in (512, one, bare, bare - 1)]
    assert [x.shots_dropped for x in found] == [0, 2, 3, 3]
    assert [x.prompts_cut for x in found] == [0, 0, 0, 1]


def test_or_a_prompt_keeps_its_last_tokens_whatever_they_hold():
    shots = {"number_theory": [SUM, ROOT, SUM]}
    model = decoder(block_size=64)
    found = letters(model, [ROOT], Asking(shots, "keep_last"))
    text = [256, *letter_prompt(ROOT, shots["number_theory"]).encode()]
    pairs = [(text[-63:], list(f" {letter}".encode())) for letter in "ABCD"]
    assert found.logprobs[0] == pytest.approx(continuation_logprobs(model, pairs, 1), abs=1e-5)
    assert (found.shots_dropped, found.prompts_cut) == (0, 1)


def test_who_knows_nothing_takes_the_longest_choice_or_the_words_of_the_question():
    rome = Question(
        "s", "Which river flows through Rome?", ["the Po", "the river Tiber", "Rome"], 1
    )
    assert longest([rome, CITY]) == [[1], [1]]
    assert most_shared([rome, CITY]) == [[2], [0, 1, 2, 3]]


def test_probabilities_are_of_the_plain_sums():
    scores = Scores([[-1.0, -2.0], [-3.0, -1.0]], {}, 0, 0)
    assert scores.logits().tolist() == [[-1.0, -2.0], [-3.0, -1.0]]
