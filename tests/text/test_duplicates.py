import random
import unicodedata

from llmill.text import duplicates, words
from llmill.text.settings import NearDuplicates

SETTINGS = NearDuplicates(shingle_words=5, similarity=0.8, permutations=128)


def near(texts, settings=SETTINGS):
    known = {}
    return list(duplicates.near((words.hashes(t, known) for t in texts), settings))


def prose(seed: int, n: int = 120) -> list[str]:
    rng = random.Random(seed)
    return [rng.choice("abcdefgh") + str(rng.randrange(500)) for _ in range(n)]


def test_a_text_repeats_an_earlier_one_whatever_its_case_and_spacing():
    texts = ["One  two", "three", "one\nTWO", "one, two", "three"]
    assert list(duplicates.exact(texts)) == [False, False, True, False, True]


def test_a_text_in_another_unicode_form_repeats_the_first():
    text = "forêt défaite élève général"
    assert list(duplicates.exact([text, unicodedata.normalize("NFD", text)])) == [False, True]
    texts = [" ".join(prose(1)) + " été", " ".join(prose(1)) + " e\u0301\u00adte\u0301 more"]
    assert near(texts) == [False, True]


def test_a_text_without_spaces_with_one_character_changed_is_a_near_duplicate():
    first = "".join(chr(0x4E00 + i * i % 4001) for i in range(150))
    assert near([first, first[:70] + "他" + first[71:], first[75:]]) == [False, True, False]


def test_a_text_with_one_word_changed_is_a_near_duplicate_and_one_with_many_is_not():
    first = prose(1)
    little = [*first[:60], "changed", *first[61:]]
    much = [w if i % 6 else "changed" for i, w in enumerate(first)]
    assert near([" ".join(t) for t in (first, little, much, prose(2))]) == [
        False,
        True,
        False,
        False,
    ]


def test_templates_filled_with_other_facts_are_no_duplicates():
    form = "The capital of {} is {}. People there pay with the {} and speak {}."
    facts = [("France", "Paris", "euro", "French"), ("Japan", "Tokyo", "yen", "Japanese")]
    assert near([form.format(*fact) for fact in facts]) == [False, False]


def test_short_texts_are_compared_whole():
    assert near(["one two", "one two", "two one", "", ""]) == [False, True, False, False, False]


def test_what_repeats_a_repeat_is_measured_against_what_was_kept():
    step = prose(3)
    texts = []
    for i in range(8):
        step = [*step[: 15 * i], "new" + str(i), *step[15 * i + 1 :]]
        texts.append(" ".join(step))
    found = near(texts)
    assert not found[0]
    assert found[1]
    assert not all(found[1:])


def test_marks_agree_with_a_slow_comparison_of_all_pairs():
    base = prose(4, 60)
    rng = random.Random(5)
    texts = []
    for _ in range(60):
        changed = list(base)
        for place in rng.sample(range(60), rng.choice((0, 1, 5, 20))):
            changed[place] = f"x{rng.randrange(10**6)}"
        texts.append(" ".join(changed))
    kept: list[set[str]] = []
    expected = []
    for text in texts:
        parts = text.split()
        own = {" ".join(parts[i : i + 5]) for i in range(56)}
        expected.append(any(len(own & o) / len(own | o) >= 0.8 for o in kept))
        if not expected[-1]:
            kept.append(own)
    assert near(texts) == expected


def test_documents_without_words_are_compared_with_nothing(monkeypatch):
    monkeypatch.setattr(duplicates, "similarity", None)
    rng = random.Random(6)
    assert not any(near(["".join(rng.choices("😀😃😄😁", k=12)) for _ in range(200)]))


def alike(n: int) -> list[str]:
    """Alike, but not enough to be duplicates."""
    base = " ".join(f"w{i}" for i in range(100))
    return [base + "".join(f" x{i}y{j}" for i in range(22)) for j in range(n)]


def test_each_of_many_documents_that_are_alike_is_compared_with_a_bounded_number(monkeypatch):
    compared = []

    def counting(one, other):
        compared.append(1)
        return similarity(one, other)

    similarity = duplicates.similarity
    monkeypatch.setattr(duplicates, "similarity", counting)
    monkeypatch.setattr(duplicates, "CROWD", 5)
    assert not any(near(alike(200)))
    assert 200 < len(compared) < 200 * 20  # of 19,900 pairs


def test_duplicates_of_the_first_of_a_crowd_are_still_marked(monkeypatch):
    monkeypatch.setattr(duplicates, "CROWD", 5)
    found = near([*alike(50), alike(1)[0] + " more"])
    assert not any(found[:50])
    assert found[50]
