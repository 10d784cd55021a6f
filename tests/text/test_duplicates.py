import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH

from llmill.text import words
from llmill.text.corpus import batches, duplicates, sorting
from llmill.text.corpus.batches import Hashes
from llmill.text.settings import NearDuplicates

SETTINGS = NearDuplicates(shingle_words=5, similarity=0.8, permutations=128)


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """What is known of documents is written into the folder worked in."""
    monkeypatch.chdir(tmp_path)


def exact(texts):
    index = duplicates.Exact(Path())
    for text in texts:
        index.add(np.frombuffer(duplicates.digest(text), np.uint64)[None])
    found = {int(n) for numbers in index.repeats() for n in numbers}
    return [number in found for number in range(len(texts))]


def near(texts, settings=SETTINGS):
    hashes, index, bands = Hashes(), duplicates.Near(settings, Path()), duplicates.Bands(settings)
    begin = 0
    for batch in batches.batches(texts, hashes):
        numbers = np.arange(begin, begin := begin + len(batch.sizes))
        index.add(numbers, batch.sizes, bands.keys(batch))
    found = set(index.repeats(lambda number: hashes.of(texts[number])))
    return [number in found for number in range(len(texts))]


def near_in_memory(texts, settings=SETTINGS):
    """The same by datasketch's own sketches and tables, which hold every document."""
    index = MinHashLSH(
        threshold=settings.similarity, num_perm=settings.permutations, weights=(0.1, 0.9)
    )
    originals, found = [], []
    for text in texts:
        features = duplicates.shingles(words.hashes(text, {}), settings.shingle_words)
        if not len(features):
            found.append(False)
            continue
        sketch = MinHash(num_perm=settings.permutations, hashfunc=int)
        sketch.update_batch([int(each) >> 32 for each in features])
        candidates = index.query(sketch)
        found.append(
            any(
                duplicates.similarity(features, originals[i]) >= settings.similarity
                for i in candidates
            )
        )
        if not found[-1] and len(candidates) < duplicates.CROWD:
            index.insert(len(originals), sketch)
            originals.append(features)
    return found


def prose(seed: int, n: int = 120) -> list[str]:
    rng = random.Random(seed)
    return [rng.choice("abcdefgh") + str(rng.randrange(500)) for _ in range(n)]


def test_a_text_repeats_an_earlier_one_whatever_its_case_and_spacing():
    texts = ["One  two", "three", "one\nTWO", "one, two", "three"]
    assert exact(texts) == [False, False, True, False, True]


def test_a_text_in_another_unicode_form_repeats_the_first():
    text = "forêt défaite élève général"
    assert exact([text, unicodedata.normalize("NFD", text)]) == [False, True]
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


def crowded(seed: int) -> list[str]:
    """Repeats of repeats, texts that are a little alike, short ones and ones without words."""
    rng = random.Random(seed)
    forms = [prose(seed + i, rng.choice((3, 4, 5, 6, 40, 90))) for i in range(12)]
    texts = []
    for _ in range(240):
        changed = list(rng.choice(forms))
        for place in rng.sample(range(len(changed)), rng.choice((0, 0, 1, 1, 2, 3))):
            changed[place] = rng.choice(("other", "és", "中", f"x{rng.randrange(30)}"))
        if rng.random() < 0.2:
            forms[rng.randrange(len(forms))] = changed
        texts.append(" ".join(changed[: rng.choice((1, 2, 4, 200, 200, 200))]))
    return [*texts, "", "...", *texts[:20]]


@pytest.mark.parametrize(("memory", "crowd", "together"), [(1 << 23, 100, 1 << 15), (4000, 3, 50)])
@pytest.mark.parametrize("similarity", [0.5, 0.8])
def test_marks_are_those_of_tables_in_memory(monkeypatch, memory, crowd, together, similarity):
    monkeypatch.setattr(sorting, "MEMORY", memory)
    monkeypatch.setattr(duplicates, "CROWD", crowd)
    monkeypatch.setattr(batches, "WORDS", together)
    monkeypatch.setattr(batches, "KNOWN", together)
    settings = NearDuplicates(shingle_words=5, similarity=similarity, permutations=64)
    for seed in range(2):
        texts = crowded(seed)
        marks = near(texts, settings)
        assert marks == near_in_memory(texts, settings)
        assert 60 < sum(marks) < 260


def test_documents_that_share_a_band_are_those_whose_sketches_do():
    texts = crowded(3)
    (batch,) = batches.batches(texts, Hashes())
    bands, seen = duplicates.Bands(SETTINGS), {}
    for text, keys in zip(texts, bands.keys(batch), strict=True):
        hashed = duplicates.shingles(words.hashes(text, {}), 5)
        sketch = MinHash(num_perm=128, hashfunc=int)
        sketch.update_batch([int(each) >> 32 for each in hashed])
        for number, key in enumerate(keys if len(hashed) else ()):
            own = sketch.hashvalues[number * bands.rows : (number + 1) * bands.rows].tobytes()
            assert seen.setdefault((number, own), key) == key
    assert len(set(seen.values())) == len(seen) > 1000


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
