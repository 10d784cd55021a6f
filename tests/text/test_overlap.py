"""Overlap of items with documents, beside a search that compares every place with every other."""

import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from llmill.text.corpus import overlap
from llmill.text.corpus.overlap import Item, Overlap, Place, SearchedText
from llmill.text.words import split

TEXT = "alpha beta gamma delta epsilon zeta eta theta"


def read(items, *texts, words=4, shortest=2, reach=3):
    found = Overlap([Item(i) if isinstance(i, str) else i for i in items], words, shortest, reach)
    found.read("documents", [SearchedText(text, "book", n) for n, text in enumerate(texts)])
    return found


def shares(found):
    return found.counts(1).tolist(), found.runs.tolist(), found.longest.tolist()


def test_runs_of_an_item_are_counted_and_the_longest_is_told_with_its_place():
    found = read([TEXT], "so: Beta, gamma -- DELTA epsilon\nzeta 'and' on", "eta theta and alpha")
    assert shares(found) == ([2], [5], [5])
    assert found.places == {0: Place("documents", "book", 0, None, 1)}


def test_a_shorter_item_is_one_run_and_a_very_short_one_is_found_only_as_a_whole_document():
    found = read(["what is tin", "ok", "..."], "he asked: what is Tin? ok", "", "OK!", words=9)
    assert shares(found) == ([1, 1, 0], [1, 1, 0], [3, 1, 0])
    assert found.length.tolist() == [3, 1, 0]
    assert (found.places[0].number, found.places[1].number) == (0, 2)
    assert shares(read(["ok"], "ok then"))[0] == [0]


def test_words_of_two_documents_are_no_run_of_one():
    assert shares(read(["one two three"], "one two", "three"))[0] == [0]


def test_runs_that_follow_each_other_in_the_item_alone_are_no_longer_run():
    found = read([TEXT], "alpha beta gamma delta", "beta gamma delta epsilon")
    assert shares(found) == ([2], [5], [4])


def test_items_that_share_words_are_told_apart():
    found = read(["a b c d e", "x b c d e f", "a b c d e"], "a b c d e", "b c d e f")
    assert shares(found) == ([2, 2, 2], [2, 3, 2], [5, 5, 5])
    assert [found.places[i].number for i in range(3)] == [0, 1, 0]


def test_an_answer_counts_behind_its_item_within_reach_and_inside_the_document():
    item = Item("which sound does a horse make", "a neigh", "a bray")

    def answers(*texts):
        found = read([item], *texts)
        assert found.answered.tolist() == [True]
        return [bool(found.right.parts[0]), bool(found.wrong.parts[0])]

    asked = "Question: Which sound does a horse make?"
    assert answers(f"{asked} Answer: a neigh") == [True, False]
    assert answers(f"{asked} one, two, three: a neigh, a bray") == [True, False]
    assert answers(f"{asked} (A) a bray (B) a neigh") == [False, True]
    assert answers(f"{asked} 1 2 3 4 a neigh") == [False, False]
    assert answers(f"a neigh. {asked}", "a bray") == [False, False]
    assert answers("Which sound does a horse like: a neigh?") == [False, False]  # not its last run


def test_an_item_without_two_different_answers_is_asked_for_none():
    items = [Item("one two three", *both) for both in (("four", ""), ("four", "Four!"), ("√", "4"))]
    found = read(items, "one two three four")
    assert found.answered.tolist() == [False] * 3
    assert found.right.parts.tolist() == [0] * 3


def test_parts_of_the_documents_are_counted_by_themselves_and_together():
    found = read([TEXT], "alpha beta gamma delta")
    found.read("messages", [SearchedText("gamma delta epsilon zeta", "", 7)])
    assert found.bits(["messages", "none such"]) == 2
    assert [found.counts(bits).tolist() for bits in (1, 2, 3)] == [[1], [1], [2]]


def test_another_unicode_form_or_characters_that_show_nothing_hide_nothing():
    text = "où se trouve le château que le général a bâti"
    for document in (
        unicodedata.normalize("NFD", text),
        "\u200b".join(text),
        text.upper().replace("É", "É\u00ad"),
    ):
        assert shares(read([text], f"Il demande {document} et s'en va.")) == ([7], [7], [10])


def test_a_script_without_spaces_has_a_word_a_character():
    found = read(["伅佞倞丝俜令串亠？"], "他鸮走了。伅佞，倞丝俜 令。后文")
    assert shares(found) == ([3], [5], [6])


def test_an_item_that_repeats_itself_is_compared_in_its_first_places():
    found = read(["ha " * 40, "ho " * 20], "ha " * 30, "ho " * 8)
    assert shares(found) == ([37, 17], [37, 17], [16 + 3, 8])


def test_no_items_and_no_documents_are_no_overlap():
    assert shares(read([], "a b c")) == ([], [], [])
    assert shares(read([TEXT])) == ([0], [5], [0])
    assert shares(read([TEXT], "", "..."))[0] == [0]


def naive(items, texts, words, shortest, reach):
    """Every run of every item in every place of every document."""
    documents = [split(text) for text in texts]
    rows = []
    for item in items:
        own, answers = split(item.text), [split(item.right)[:words], split(item.wrong)[:words]]
        n = min(len(own), words)

        def at(part, document):
            return [
                i
                for i in range(len(document) - len(part) + 1)
                if document[i : i + len(part)] == part
                and (len(part) >= shortest or len(part) == len(document))
            ]

        wanted = [own[i : i + n] for i in range(len(own) - n + 1)] if n else []
        count = sum(any(at(run, d) for d in documents) for run in wanted)
        longest = max(
            (
                m
                for m in range(n, len(own) + 1)
                for i in range(len(own) - m + 1)
                if n and any(at(own[i : i + m], d) for d in documents)
            ),
            default=0,
        )
        there = [False, False]
        for document in documents:
            for place in at(own[-n:], document) if n else []:
                for which, answer in enumerate(answers):
                    starts = range(place + n, place + n + reach + 1)
                    there[which] |= any(document[s : s + len(answer)] == answer for s in starts)
        both = all(answers) and answers[0] != answers[1]
        rows.append((count, longest, *(both and each for each in there)))
    return rows


def test_how_many_stretches_are_kept_in_mind_has_a_bound(monkeypatch):
    """Those before are forgotten, and one that comes again is compared again, to no other end."""
    monkeypatch.setattr(overlap, "SEEN", 3)
    monkeypatch.setattr(overlap, "BATCH", 1)  # a document by itself
    parts = [" ".join(TEXT.split()[i : i + n]) for n in (4, 5, 6) for i in range(3)]
    found = read([TEXT], *parts, *parts)
    assert shares(found) == ([5], [5], [6])
    assert [len(of_length.seen) for of_length in found.by_length] == [3]
    assert found.places[0].number == 6  # the first of the longest


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("pairs", [40, 1 << 20])
def test_the_slow_search_finds_the_same(seed, pairs, monkeypatch):
    monkeypatch.setattr(overlap, "BATCH", 40)
    monkeypatch.setattr(overlap, "PAIRS", pairs)
    rng = random.Random(seed)

    def text(most):
        return " ".join(rng.choice("abcd") for _ in range(rng.randrange(most)))

    items = [Item(text(9), text(4), text(4)) for _ in range(30)]
    texts = [text(25) for _ in range(12)] * 2
    settings = dict(words=4, shortest=2, reach=2)
    found = read(items, *texts, **settings)
    parts = np.stack([found.counts(1), found.longest, found.right.parts, found.wrong.parts])
    assert [tuple(row) for row in parts.T.tolist()] == naive(items, texts, **settings)
    for item, place in found.places.items():
        words = split(items[item].text)[place.first :][: found.longest[item]]
        assert " ".join(words) in " ".join(split(texts[place.number]))


def test_texts_of_the_real_world_hide_nothing_in_their_form():
    """A book with composed and decomposed accents, and one without spaces."""
    cases = Path(__file__).parents[3] / "shared" / "cases"
    if not cases.exists():
        pytest.skip("the cases are not here (../shared/cases beside the repository)")
    composed, decomposed = (
        (cases / f"book_accents_{form}.txt").read_text() for form in ("composed", "decomposed")
    )
    chinese = (cases / "book_chinese.txt").read_text()
    found = read([composed, chinese], decomposed, chinese.replace("\n", ""), words=13)
    assert found.counts(1).tolist() == found.runs.tolist()
    assert found.longest.tolist() == found.words.tolist()
