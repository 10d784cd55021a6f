from llmill.text.documents import Document
from llmill.text.identity import fraction
from llmill.text.mixture import copies, mix


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
