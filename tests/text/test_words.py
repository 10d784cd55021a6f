import random
import sys

import numpy as np

from llmill.text import words
from llmill.text.identity import canonical


def test_case_and_punctuation_make_no_other_words():
    known = {}
    one = words.hashes("Don't _stop_, Émile!", known)
    other = words.hashes("don’t... STOP émile", known)
    assert one.tolist() == other.tolist()
    assert len(one) == 4
    assert list(known) == ["don", "t", "stop", "émile"]


def same(one: str, other: str) -> bool:
    return words.hashes(one, {}).tolist() == words.hashes(other, {}).tolist()


def test_unicode_form_and_characters_that_show_nothing_make_no_other_words():
    assert same("l'armée étrangère", "l'arme\u0301e e\u0301trange\u0300re")
    assert same("contamination", "con\u00adtami\u200bna\u2060tion\ufeff")
    assert same("ﬁnal Ｆｕｌｌ １２", "final full 12")
    assert not same("élève", "eleve")


def test_words_of_plain_text_are_those_of_any_text():
    plain = "".join(map(chr, range(128))) + " It's 3rd_place, U.S.A.\t"
    assert words.split(plain) == words.WORD.findall(canonical(plain))
    assert words.split("Ünïcode ½ 中文") == ["ünïcode", "1", "2", "中", "文"]


def test_what_is_not_unusual_is_split_and_folded_as_anything_is():
    usual = [c for c in map(chr, range(sys.maxunicode + 1)) if not words.UNUSUAL.match(c)]
    assert len(usual) > 700
    rng = random.Random(1)
    texts = [*usual, *("".join(rng.choices(usual, k=80)) for _ in range(400))]
    for text in texts:
        assert words.folded(text) == canonical(text)
        assert words.split(text) == words.WORD.findall(canonical(text))
        assert not words.SPACELESS.search(text)


def test_scripts_without_spaces_have_a_word_a_character_with_its_marks():
    known = {}
    words.hashes("中文，测试。Hello世界 コーヒー ง่าย नमस्ते 한국어 mixed中2字", known)
    assert " ".join(known) == "中 文 测 试 hello 世 界 コ ー ヒ ง่ า ย नमस्ते 한국어 mixed 2 字"


def test_emoji_and_punctuation_are_no_words():
    assert words.hashes("👍🏽 ... ❤️ 👩‍👧 — _ ½!", {}).tolist() == words.hashes("1 2", {}).tolist()
    assert words.hashes("👍🏽 😀😀 ❤️", {}).size == 0


def test_words_are_counted_between_spaces_or_by_character():
    assert words.count("Two words, it's four -- no: seven") == 7
    assert words.count("中文，测试。 Hello世界 ok") == 7
    assert words.count("ภาษาไทย") == 7
    assert words.count("  \n") == 0


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
