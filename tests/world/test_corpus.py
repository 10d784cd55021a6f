"""Documents that survive what the pipeline removes: near duplicates and evaluation texts."""

import json
import re
from random import Random


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


def shingles(text: str, size: int) -> set[tuple[str, ...]]:
    return runs(words(text), size)


def runs(found: list[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(found[i : i + size]) for i in range(max(1, len(found) - size + 1))}


def test_the_corpus_has_about_five_megabytes(documents):
    characters = sum(len(document) for of_file in documents.values() for document in of_file)
    assert 4_000_000 < characters < 6_000_000


def test_every_document_is_different_and_holds_no_blank_line(of_each):
    every = [document for of_file in of_each.values() for document in of_file]
    assert len(set(every)) == len(every)
    assert all(document.strip() == document and document for document in every)
    assert not any("\n\n" in document for document in every)


def test_documents_are_neither_snippets_nor_longer_than_a_window(of_each):
    lengths = [len(words(document)) for of_file in of_each.values() for document in of_file]
    assert min(lengths) >= 10
    assert max(lengths) <= 220


def test_near_duplicates_are_rare(of_each):
    """Exact Jaccard similarity over 5-word shingles, of a sample against its whole file."""
    rng = Random(0)
    near = looked_at = 0
    for of_file in of_each.values():
        sets = [shingles(document, 5) for document in of_file]
        index: dict[tuple[str, ...], list[int]] = {}
        for i, own in enumerate(sets):
            for shingle in own:
                index.setdefault(shingle, []).append(i)
        for i in rng.sample(range(len(sets)), min(60, len(sets))):
            shared: dict[int, int] = {}
            for shingle in sets[i]:
                for j in index[shingle]:
                    shared[j] = shared.get(j, 0) + 1
            similar = [
                j
                for j, both in shared.items()
                if j != i and both / (len(sets[i]) + len(sets[j]) - both) >= 0.8
            ]
            near += bool(similar)
            looked_at += 1
    assert near / looked_at < 0.01


def evaluation_texts(world, test_rows) -> list[str]:
    """Every text that may become a test: no later split can make it worse."""
    texts = [row[0] for rows in test_rows.values() for row in rows]
    tasks = json.loads((world / "instruction/instruction-data.json").read_text(encoding="utf-8"))
    texts += [f"{task['instruction']} {task['input']}" for task in tasks]
    messages = (world / "classification/SMSSpamCollection").read_text(encoding="utf-8")
    return texts + [line.split("\t", 1)[1] for line in messages.rstrip("\n").split("\n")]


def test_at_most_one_document_in_a_thousand_holds_an_evaluation_text(world, of_each, test_rows):
    """13 consecutive words of one, or the whole of a shorter one of at least 4 words."""
    wanted: dict[int, set[tuple[str, ...]]] = {}
    for text in evaluation_texts(world, test_rows):
        size = min(13, len(words(text)))
        if size >= 4:
            wanted.setdefault(size, set()).update(shingles(text, size))
    every = [document for of_file in of_each.values() for document in of_file]
    hit = []
    for document in every:
        found = words(document)
        if any(not of_size.isdisjoint(runs(found, n)) for n, of_size in wanted.items()):
            hit.append(document)
    assert len(hit) <= len(every) / 1000, hit[:3]
