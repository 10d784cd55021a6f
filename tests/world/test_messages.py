"""Messages whose class lies in who does what to whom; everyday ones beside them; tests of patterns
that nothing was learnt from.
"""

import re
from collections import Counter
from random import Random

import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from llmill.contract.errors import UserError
from llmill.world import everyday_messages, hard_messages, messages
from llmill.world.grammar import sentences
from llmill.world.messages import known, unseen

TRAIN = 4000
PATTERNS = {"hard": hard_messages.pairs, "everyday": everyday_messages.patterns}


@pytest.fixture(scope="module")
def labelled(settings):
    return messages.make(settings)


@pytest.fixture(scope="module")
def tests(settings):
    return messages.tests(settings)


@pytest.fixture(scope="module")
def hard():
    """The hard messages alone, of every pattern."""
    rng = Random(1)
    drawn = [
        (label, hard_messages.write(pair, label, rng))
        for _ in range(6)
        for pair in hard_messages.pairs()
        for label in ("ham", "spam")
    ]
    return rng.sample(drawn, len(drawn))


def test_there_are_as_many_distinct_messages_as_asked_for(labelled, settings):
    assert len({text for _, text in labelled}) == settings.messages >= 4000
    assert Counter(label for label, _ in labelled) == {"ham": 2475, "spam": 2025}


def test_a_line_is_a_label_a_tab_and_a_message(world, labelled, tests):
    for name, rows in {
        "SMSSpamCollection": labelled,
        "tests/everyday.tsv": tests["everyday"],
    }.items():
        lines = (world / "classification" / name).read_text(encoding="utf-8").split("\n")
        assert lines.pop() == ""
        assert [tuple(line.split("\t")) for line in lines] == rows


def test_one_pattern_in_five_is_kept_for_a_test_and_a_pair_stays_together():
    for patterns in PATTERNS.values():
        kept, learnt = unseen(patterns()), known(patterns())
        assert len(kept) + len(learnt) == len(patterns())
        assert 0.15 < len(kept) / len(patterns()) < 0.27
    assert all(set(pair) == {"spam", "ham"} for pair in unseen(hard_messages.pairs()))


def test_a_pattern_stays_on_its_side_when_others_are_added():
    rows = hard_messages.pairs()
    assert [*unseen(rows[:40]), *unseen(rows[40:])] == unseen(rows)


@pytest.mark.parametrize(
    ("test", "kind"), [("unseen_patterns", "hard"), ("unseen_everyday_patterns", "everyday")]
)
def test_a_test_of_unseen_patterns_holds_messages_of_those_alone(labelled, tests, test, kind):
    rows = tests[test]
    assert Counter(label for label, _ in rows) == {"ham": 275, "spam": 225}
    of_unseen = [as_regex(text) for p in unseen(PATTERNS[kind]()) for text in p.values()]
    assert all(any(regex.search(text) for regex in of_unseen) for _, text in rows)
    learnt = {text for p in known(PATTERNS[kind]()) for text in p.values()}
    assert not learnt & {text for p in unseen(PATTERNS[kind]()) for text in p.values()}
    assert not {text for _, text in rows} & {text for _, text in labelled}


def test_the_everyday_test_is_twenty_of_each_and_no_pattern_is_near_one_of_them(tests):
    rows = tests["everyday"]
    assert Counter(label for label, _ in rows) == {"ham": 20, "spam": 20}
    for _, text in rows:
        for patterns in PATTERNS.values():
            for pattern in (text for row in patterns() for text in row.values()):
                both, either = bag(text) & bag(pattern), bag(text) | bag(pattern)
                assert len(both) / len(either) < 0.5, (text, pattern)


def test_no_everyday_test_message_is_learnt(labelled, tests):
    learnt = {text.lower().strip(" .!?") for _, text in labelled}
    assert not learnt & {text.lower().strip(" .!?") for _, text in tests["everyday"]}


def test_words_are_at_chance_for_tfidf_and_pairs_of_words_stay_below_95_percent(hard):
    assert 0.45 < tfidf_accuracy(hard, (1, 1)) < 0.6
    assert tfidf_accuracy(hard, (1, 2)) < 0.95


def test_no_single_word_tells_much(hard):
    texts, labels = [text for _, text in hard], [label for label, _ in hard]
    present = CountVectorizer(binary=True).fit_transform(texts)
    spam = [label == "spam" for label in labels]
    for column in present.T.toarray():
        agree = sum(bool(has) == is_spam for has, is_spam in zip(column, spam, strict=True))
        assert max(agree, len(spam) - agree) / len(spam) < 0.6


def test_length_tells_little(hard):
    lengths = [[len(text), len(text.split())] for _, text in hard]
    labels = [label for label, _ in hard]
    tree = DecisionTreeClassifier(max_depth=4).fit(lengths[:TRAIN], labels[:TRAIN])
    assert tree.score(lengths[TRAIN:], labels[TRAIN:]) < 0.5 + 0.1


def test_two_pairs_in_five_are_made_of_the_same_words():
    same = [
        p for p in hard_messages.pairs() if Counter(words(p["spam"])) == Counter(words(p["ham"]))
    ]
    assert len(same) > 0.4 * len(hard_messages.pairs())


def test_a_sentence_begins_with_a_capital():
    assert sentences('say no. "is it?" no! you') == 'Say no. "is it?" no! You'
    assert sentences('"pay now" - they say') == '"Pay now" - they say'


def test_more_messages_than_the_world_has_are_refused_in_one_line(settings, monkeypatch):
    monkeypatch.setattr(hard_messages, "write", lambda *given: "always the same")
    with pytest.raises(UserError, match=r"download\.world\.messages"):
        messages.make(settings)


def tfidf_accuracy(labelled, ngrams) -> float:
    texts, labels = [text for _, text in labelled], [label for label, _ in labelled]
    vectorizer = TfidfVectorizer(ngram_range=ngrams)
    train = vectorizer.fit_transform(texts[:TRAIN])
    model = LogisticRegression(max_iter=1000).fit(train, labels[:TRAIN])
    return model.score(vectorizer.transform(texts[TRAIN:]), labels[TRAIN:])


def words(pattern: str) -> list[str]:
    return re.findall(r"\w+", pattern.lower())


def bag(text: str) -> set[str]:
    """The words, without the gaps."""
    return set(words(re.sub(r"\{\w+\}", " ", text)))


def as_regex(pattern: str) -> re.Pattern[str]:
    """What messages of the pattern hold, but for punctuation between them."""
    parts = [re.escape(part) for part in re.split(r"\{\w+\}", pattern)]
    return re.compile(".+?".join(parts), re.IGNORECASE)
