"""Figures against hand-made counts and scikit-learn, baselines, and the paired comparison."""

import random

import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from llmill.evaluation import classification
from llmill.model.checkpoint import Checkpoint
from tests.evaluation.toys import bytes_tokenizer, headed

DRAWN = {"confidence": 0.95, "resamples": 200, "seed": 1}
LABELS = ["ham", "spam"]
TRUTH = ["ham"] * 6 + ["spam"] * 4
FOUND = ["ham"] * 5 + ["spam"] + ["spam"] * 3 + ["ham"]


def figures(truth, found, labels=LABELS, positive="spam"):
    return classification.figures(truth, found, labels, positive, **DRAWN)


def test_figures_of_ten_messages_are_those_counted_by_hand():
    found = figures(TRUTH, FOUND)
    assert found["confusion"] == [[5, 1], [1, 3]]
    assert (found["accuracy"]["value"], found["accuracy"]["n"]) == (0.8, 10)
    assert (found["precision"]["value"], found["precision"]["n"]) == (0.75, 4)
    assert (found["recall"]["value"], found["recall"]["n"]) == (0.75, 4)
    assert found["f1"]["value"] == 0.75
    assert found["macro_f1"]["value"] == pytest.approx((0.75 + 10 / 12) / 2)


def test_figures_of_three_classes_agree_with_scikit_learn():
    rng = random.Random(3)
    truth, guess = rng.choices("abc", k=90), rng.choices("abc", k=90)
    found = figures(truth, guess, ["a", "b", "c"], "b")
    assert found["f1"]["value"] == pytest.approx(f1_score(truth, guess, labels=["b"], average=None))
    assert found["macro_f1"]["value"] == pytest.approx(f1_score(truth, guess, average="macro"))
    for name, theirs in (("precision", precision_score), ("recall", recall_score)):
        expected = theirs(truth, guess, labels=["b"], average=None)[0]
        assert found[name]["value"] == pytest.approx(expected)


def test_every_interval_holds_its_value():
    found = figures(TRUTH, FOUND)
    for name in ("accuracy", "precision", "recall", "f1", "macro_f1"):
        assert 0 <= found[name]["low"] <= found[name]["value"] <= found[name]["high"] <= 1


def test_a_rare_class_that_a_draw_lacks_is_not_counted_as_wrong_there():
    """Two of 200: every seventh draw has none of them, and macro F1 would be a third less there."""
    truth = ["a"] * 100 + ["b"] * 98 + ["c"] * 2
    found = figures(truth, ["b", *truth[1:]], ["a", "b", "c"], "b")["macro_f1"]
    assert found["value"] == pytest.approx((2 * 99 / 199 + 2 * 98 / 197 + 1) / 3)
    assert found["low"] > 0.5
    absent = figures(truth, truth, ["a", "b", "c", "d"], "b")["macro_f1"]
    assert absent["value"] == 0.75


def test_a_class_that_is_never_predicted_has_a_precision_nobody_knows():
    found = figures(TRUTH, ["ham"] * 10)
    assert found["precision"] == {"value": 0.0, "low": 0.0, "high": 1.0, "n": 0, "covers": "items"}
    assert found["f1"]["value"] == 0.0


def test_the_majority_is_the_commonest_training_label():
    assert classification.majority(["spam", "ham", "ham"], 2) == ["ham", "ham"]
    assert classification.majority(["spam", "ham"], 1) == ["ham"]


def test_the_rarer_label_is_never_the_majority():
    assert classification.rarer(["spam", "ham", "ham"]) == "spam"
    assert classification.rarer(["spam", "ham"]) == "spam"


def test_tfidf_learns_pairs_of_words_and_takes_the_strength_best_on_validation():
    train = ["not good", "good", "not bad", "bad"] * 5, ["no", "yes", "yes", "no"] * 5
    found, strength = classification.tfidf(train, train, ["not good", "bad", "good"], seed=1)
    assert found == ["no", "no", "yes"]
    assert strength == 1.0  # of equals the first


def test_the_strength_is_chosen_on_the_validation_texts_and_not_on_those_learnt_from(monkeypatch):
    monkeypatch.setattr(classification, "STRENGTHS", (1e-6, 100.0))
    texts = ["hello mother", "dinner tonight", "see you", "cash prize"]
    learnt = texts * 5, ["ham", "ham", "ham", "spam"] * 5
    # Only the greater strength learns the spam, and only the lesser says ham of every text.
    found, strength = classification.tfidf(learnt, (texts, ["ham"] * 4), texts, seed=1)
    assert (found, strength) == (["ham"] * 4, 1e-6)
    assert classification.tfidf(learnt, learnt, texts, seed=1) == (learnt[1][:4], 100.0)


EMOJI = (
    ["🔥😀", "😀🙏", "💔😡", "😡👎", "😀👍️", "💔🙏"] * 5,
    ["glad", "glad", "sad", "sad", "glad", "sad"] * 5,
)


def test_where_no_text_has_a_word_the_characters_are_learnt():
    assert classification.pieces(EMOJI[0]) == "characters"
    found, _ = classification.tfidf(EMOJI, EMOJI, ["🔥👍️", "💔👎", "words", ""], seed=1)
    assert found[:2] == ["glad", "sad"]


def test_where_the_texts_hold_nothing_tfidf_is_the_majority():
    nothing = [" ", "", "\u200b"][:2] * 3, ["a", "a", "b", "b", "b", "b"]
    found, strength = classification.tfidf(nothing, nothing, ["", "x"], seed=1)
    assert (found, strength) == (["b", "b"], 1.0)


def test_words_are_learnt_as_soon_as_one_text_has_any():
    assert classification.pieces(["🔥", "ok 🔥"]) == "words"
    assert classification.pieces(["a b c", "🔥"]) == "characters"  # a word has two letters


def test_a_paired_comparison_counts_who_alone_is_right():
    truth = ["a"] * 20
    first = ["a"] * 18 + ["b"] * 2
    second = ["a"] * 9 + ["b"] * 10 + ["a"]
    found = classification.compare(truth, first, second, 0.95)
    assert (found["only_first_right"], found["only_second_right"]) == (9, 1)
    assert found["difference"]["value"] == pytest.approx(0.4)
    assert found["mcnemar_p"] == pytest.approx(22 / 1024)  # two-sided: 1 or fewer of 10 coins
    # Bonett and Price: (10 - 2) / 22, and 1.96 standard errors of it
    ends = found["difference"]["low"], found["difference"]["high"]
    assert ends == pytest.approx((0.0950, 0.6322), abs=1e-4)


def test_systems_that_never_differ_cannot_be_told_apart():
    found = classification.compare(["a", "b"], ["a", "a"], ["a", "a"], 0.95)
    assert found["mcnemar_p"] == 1.0
    ends = pytest.approx(-0.6930, abs=1e-4), pytest.approx(0.6930, abs=1e-4)  # of 2 texts
    expected = {"value": 0.0, "low": ends[0], "high": ends[1], "n": 2, "covers": "items"}
    assert found["difference"] == expected


def test_a_prediction_does_not_depend_on_the_other_messages():
    checkpoint = Checkpoint(headed(2, seed=1), bytes_tokenizer(), LABELS, 48)
    rng = random.Random(5)
    texts = ["".join(rng.choices("abcdefgh ", k=rng.randint(0, 90))) for _ in range(60)]
    together = classification.predict(checkpoint, texts)
    assert {label for label, _ in together} == set(LABELS)
    alone = [classification.predict(checkpoint, [text])[0] for text in texts]
    for others in (alone, classification.predict(checkpoint, texts[::-1])[::-1]):
        assert [label for label, _ in others] == [label for label, _ in together]
        assert [p for _, p in others] == pytest.approx([p for _, p in together], abs=1e-6)


def test_of_a_long_message_the_end_is_read():
    checkpoint = Checkpoint(headed(2), bytes_tokenizer(), LABELS, 10)
    rng = random.Random(6)
    ends = ["".join(rng.choices("abcdefgh", k=10)) for _ in range(20)]
    assert classification.predict(checkpoint, ends) == classification.predict(
        checkpoint, ["other beginning " + end for end in ends]
    )
