import numpy as np

from llmill.text import words


def test_case_and_punctuation_make_no_other_words():
    known = {}
    one = words.hashes("Don't _stop_, Émile!", known)
    other = words.hashes("don’t... STOP émile", known)
    assert one.tolist() == other.tolist()
    assert len(one) == 4
    assert list(known) == ["don", "t", "stop", "émile"]


def test_a_words_hash_depends_on_nothing_else():
    assert words.hashes("hello", {}).tolist() == [0xA7B6EDA801E5347D]


def test_runs_are_equal_where_the_same_words_follow_each_other():
    known = {}
    text = words.hashes("a rose is a rose is a rose", known)
    found = words.runs(text, 3).tolist()
    assert len(found) == 6
    assert found[0] == found[3]
    assert found[1] == found[4]
    assert len(set(found)) == 3
    assert words.runs(words.hashes("is rose a", known), 3)[0] not in found


def test_a_text_shorter_than_the_run_has_none():
    assert words.runs(words.hashes("two words", {}), 3).size == 0
    assert words.runs(np.empty(0, dtype=np.uint64), 1).size == 0
