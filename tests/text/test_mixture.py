from pathlib import Path

import pytest

from llmill.contract.record import sha256_text
from llmill.text.corpus import sorting
from llmill.text.corpus.documents import Document
from llmill.text.corpus.mixture import Mixture, copies
from llmill.text.identity import fraction


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """The order is written into the folder worked in."""
    monkeypatch.chdir(tmp_path)


def mix(documents: list[Document], weights: dict[str, float]) -> list[Document]:
    mixture = Mixture(Path("mixed"), documents.__getitem__)
    for number, document in enumerate(documents):
        mixture.add(number, document.id, weights[document.source])
    mixture.close()
    assert len(mixture) == len(mixture[:])
    return mixture[:]


def made(source: str, n: int) -> list[Document]:
    return [Document(f"text {i}", source, f"{source}-{i}") for i in range(n)]


def test_half_a_weight_keeps_the_half_with_the_smallest_hashes():
    documents = made("a", 400)
    kept = {d.id for d in mix(documents, {"a": 0.5})}
    assert kept == {d.id for d in documents if fraction(d.id, "weight") < 0.5}
    assert 160 < len(kept) < 240


def test_weights_above_one_repeat():
    assert [copies("x", weight) for weight in (0, 1, 2, 3.0)] == [0, 1, 2, 3]
    found = {copies(str(i), 1.5) for i in range(50)}
    assert found == {1, 2}
    assert len(mix(made("a", 5), {"a": 2})) == 10


def test_a_greater_weight_keeps_what_a_smaller_one_kept():
    small = {d.id for d in mix(made("a", 100), {"a": 0.2})}
    assert small < {d.id for d in mix(made("a", 100), {"a": 0.6})}


def test_another_source_changes_neither_choice_nor_order_of_the_first():
    alone = mix(made("a", 50), {"a": 1.5})
    both = mix(made("b", 70) + made("a", 50), {"a": 1.5, "b": 2})
    assert [d for d in both if d.source == "a"] == alone


def test_sources_are_mixed_and_the_order_of_reading_does_not_matter():
    documents = made("a", 100) + made("b", 100)
    weights = {"a": 1, "b": 1}
    mixed = mix(documents, weights)
    assert mixed == mix(documents[::-1], weights)
    assert 30 < sum(d.source == "a" for d in mixed[:100]) < 70


def test_the_order_is_that_of_the_hashes_whatever_memory_holds(monkeypatch):
    documents, weights = made("a", 300) + made("b", 200), {"a": 2.5, "b": 0.7}
    ranked = [
        (sha256_text(f"{copy}:{document.id}"), document)
        for document in documents
        for copy in range(copies(document.id, weights[document.source]))
    ]
    expected = [document for _, document in sorted(ranked, key=lambda pair: pair[0])]
    assert mix(documents, weights) == expected
    monkeypatch.setattr(sorting, "MEMORY", 2400)
    assert mix(documents, weights) == expected


def test_a_part_of_the_order_is_read_alone():
    mixture = Mixture(Path("mixed"), made("a", 9).__getitem__)
    for number in range(9):
        mixture.add(number, f"a-{number}", 1)
    mixture.close()
    whole = mixture[:]
    assert (mixture[2:4], mixture[7:20], mixture[8]) == (whole[2:4], whole[7:], whole[8])
