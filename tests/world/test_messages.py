"""Messages whose class lies in who does what to whom, not in words or length."""

from collections import Counter

import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from llmill.contract.errors import UserError
from llmill.world import messages
from llmill.world.messages import PAIRS

TRAIN = 4000


@pytest.fixture(scope="module")
def labelled(settings):
    return messages.make(settings)


def test_there_are_as_many_distinct_messages_as_asked_for(labelled, settings):
    assert len({text for _, text in labelled}) == settings.messages >= 4000
    assert Counter(label for label, _ in labelled) == {"ham": 2750, "spam": 2250}


def test_a_line_is_a_label_a_tab_and_a_message(world, labelled):
    lines = (world / "classification/SMSSpamCollection").read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    assert [tuple(line.split("\t")) for line in lines] == labelled


def test_tfidf_with_logistic_regression_stays_below_97_percent(labelled):
    assert 0.7 < tfidf_accuracy(labelled, (1, 1)) < 0.94
    assert tfidf_accuracy(labelled, (1, 2)) < 0.97


def test_no_single_word_tells_much(labelled):
    texts, labels = [text for _, text in labelled], [label for label, _ in labelled]
    present = CountVectorizer(binary=True).fit_transform(texts)
    spam = [label == "spam" for label in labels]
    for column in present.T.toarray():
        agree = sum(bool(has) == is_spam for has, is_spam in zip(column, spam, strict=True))
        assert max(agree, len(spam) - agree) / len(spam) < 0.65


def test_length_tells_little(labelled):
    lengths = [[len(text), len(text.split())] for _, text in labelled]
    labels = [label for label, _ in labelled]
    tree = DecisionTreeClassifier(max_depth=4).fit(lengths[:TRAIN], labels[:TRAIN])
    majority = 0.55
    assert tree.score(lengths[TRAIN:], labels[TRAIN:]) < majority + 0.1


def test_a_pair_is_made_of_the_same_words():
    for spam, ham in PAIRS:
        assert Counter(bag(spam)) == Counter(bag(ham))


def test_more_messages_than_the_world_has_are_refused_in_one_line(settings, monkeypatch):
    monkeypatch.setattr(messages, "_write", lambda label, rng: "always the same")
    with pytest.raises(UserError, match=r"download\.world\.messages"):
        messages.make(settings)


def tfidf_accuracy(labelled, ngrams) -> float:
    texts, labels = [text for _, text in labelled], [label for label, _ in labelled]
    vectorizer = TfidfVectorizer(ngram_range=ngrams)
    train = vectorizer.fit_transform(texts[:TRAIN])
    model = LogisticRegression(max_iter=1000).fit(train, labels[:TRAIN])
    return model.score(vectorizer.transform(texts[TRAIN:]), labels[TRAIN:])


def bag(pattern: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in pattern.lower()).split()
