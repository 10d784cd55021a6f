"""What the text shows of what instructions ask for, each held against a slow rule of its own."""

import re
from random import Random

from llmill.world import corpus
from llmill.world.facts import Fact, by_entity
from llmill.world.lexicon import CONVERSIONS, GROUPS
from llmill.world.phrasing import texts

HEADING = re.compile(r"(?:About|More on|Here is something about) ([^:.]+)[:.] ([^.]+)")
VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


def shown(documents, name, pattern):
    found = re.findall(pattern, "\n".join(documents[name]))
    assert len(found) > 50, f"{pattern} is hardly there"
    return found


def test_a_heading_names_what_the_sentence_behind_it_is_about(documents):
    said = {
        (entity, sentence.split(".")[0])  # a name may have a full stop
        for (_, entity), facts in by_entity().items()
        for fact in facts
        for sentence in texts(fact, "say")
    }
    every = [pair for name in documents for pair in HEADING.findall("\n".join(documents[name]))]
    assert ("Peru", "The capital of Peru is Lima") in every
    assert len(every) > 5000
    assert [pair for pair in every if pair not in said] == []


def test_a_third_of_the_sentences_have_a_heading_of_five_wordings():
    peru = Fact("geography", "countries", "capital", "Peru", "Lima")
    rng, said = Random(1), texts(peru, "say")
    told = [corpus.told(peru, rng) for _ in range(2000)]
    headings = [text.removesuffix(end) for text in told for end in said if text.endswith(f" {end}")]
    assert set(headings) == {
        "Peru: ",
        "Peru. ",
        "About Peru: ",
        "More on Peru. ",
        "Here is something about Peru. ",
    }
    assert 0.32 < len(headings) / len(told) < 0.38


def test_roman_numerals_have_their_value(
    documents,
):
    pairs = shown(documents, "numbers.txt", r"\b([IVXLC]+) is the number (\d+)\.")
    pairs += [
        (numeral, number)
        for number, numeral in shown(
            documents, "numbers.txt", r"The Roman numeral for (\d+) is ([IVXLC]+)\."
        )
    ]
    assert {int(number) for _, number in pairs} == set(range(1, 100))
    for numeral, number in pairs:
        signs = [VALUES[sign] for sign in numeral]
        behind = [*signs[1:], 0]
        assert int(number) == sum(-a if a < b else a for a, b in zip(signs, behind, strict=True))


def test_small_units_are_as_many_as_the_large_ones_hold(documents):
    sizes = {(large, small): size for large, small, size in CONVERSIONS}
    for count, small, times, large in shown(
        documents, "numbers.txt", r"There are (\d+) (\w+) in (\d+) (\w+)\."
    ):
        assert int(count) == int(times) * sizes[large, small]


def test_listed_words_stand_in_the_order_of_the_alphabet(documents):
    for listed in shown(documents, "words.txt", r"(By the alphabet: [\w, ]+)\."):
        words = listed.removeprefix("By the alphabet: ").split(", ")
        assert 4 <= len(words) <= 8
        assert words == sorted(words)


def test_the_word_that_does_not_belong_is_of_another_group_than_the_three(documents):
    group = {word: name for name, words in GROUPS.items() for word in words}
    for odd, *three in shown(
        documents, "words.txt", r"The word (\w+) does not belong with (\w+), (\w+) and (\w+)\."
    ):
        (one,) = {group[word] for word in three}
        assert group[odd] != one


def test_every_word_is_told_to_be_of_its_group(documents):
    told = shown(documents, "words.txt", r"(?:^| )An? (\w+) is an? ([\w ]+)\.")
    assert set(told) == {(word, name) for name, words in GROUPS.items() for word in words}
