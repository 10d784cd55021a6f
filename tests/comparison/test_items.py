"""The same items on both sides, in pairs: worked by hand."""

import pytest

from llmill.comparison import items

NOTHING: dict[str, object] = {}


def of(address: str, **files):
    return items.item_metrics(address, {f"{name}.json": rows for name, rows in files.items()}.get)


def question(n: int, right: bool, level: str | None = None, subject: str = "sums") -> dict:
    return {"subject": subject, "level": level, "question": f"q{n}", "cloze_right": right}


def test_questions_gained_and_lost_are_counted_and_tested():
    """Of ten, one is lost and six gained: of seven coins at most one shows tails, 2 * 8 / 128."""
    before = of("mmlu@a", questions=[question(n, n < 4) for n in range(10)])
    after = of("mmlu@a", questions=[question(n, n != 0) for n in range(10)])
    found = items.paired(before["mmlu.a.cloze"], after["mmlu.a.cloze"])
    assert (found.n, found.gained, found.lost, found.only_before, found.only_after) == (
        10,
        6,
        1,
        0,
        0,
    )
    assert found.p == 16 / 128
    assert found.difference["value"] == pytest.approx(0.5)
    ends = found.difference["low"], found.difference["high"]  # Bonett and Price, about 5 of 12
    assert ends == pytest.approx((-0.0129, 0.8462), abs=1e-4)


def test_questions_of_a_cluster_are_gained_together():
    """Of four entities with two questions each all four gained both: two of 16 flips are as far."""

    def rows(right: bool, number: int = 0) -> list[dict]:
        return [question(n, right) | {"cluster": number + n // 2} for n in range(8)]

    before, after = of("mmlu@a", questions=rows(False)), of("mmlu@a", questions=rows(True, 30))
    found = items.paired(before["mmlu.a.cloze"], after["mmlu.a.cloze"])
    assert (found.n, found.gained, found.p) == (8, 8, 2 / 16)
    alone = [of("mmlu@a", questions=[question(n, r) for n in range(8)]) for r in (False, True)]
    apart = items.paired(*(each["mmlu.a.cloze"] for each in alone))
    assert apart.p == 2 / 256
    assert found.difference["low"] < apart.difference["low"]
    known = [row | {"cloze_after": True} for row in rows(True)]
    assert [*of("knowledge@a", questions=known)["knowledge.a.cloze"].clusters.values()] == [
        0, 0, 1, 1, 2, 2, 3, 3,
    ]  # fmt: skip


def test_items_are_paired_by_what_was_asked_in_any_order_and_others_are_left_out():
    before = of("mmlu@a", questions=[question(n, True) for n in range(6)])
    after = of("mmlu@a", questions=[question(n, n == 4) for n in (5, 4, 9)])
    found = items.paired(before["mmlu.a.cloze"], after["mmlu.a.cloze"])
    assert (found.n, found.only_before, found.only_after, found.gained, found.lost) == (
        2,
        4,
        1,
        0,
        1,
    )
    assert (
        items.paired(
            before["mmlu.a.cloze"], of("mmlu@a", questions=[question(9, True)])["mmlu.a.cloze"]
        )
        is None
    )


def test_one_question_asked_twice_is_two_items():
    twice = of("mmlu@a", questions=[question(1, True), question(1, False)])["mmlu.a.cloze"]
    assert sorted(twice.values.values()) == [0.0, 1.0]


def test_levels_and_ways_are_figures_of_their_own():
    rows = [question(1, True, "one_fact") | {"letter_right": False}, question(2, False, "two_hops")]
    assert {key: [*m.values.values()] for key, m in of("mmlu@a", questions=rows).items()} == {
        "mmlu.a.cloze": [1.0, 0.0],
        "mmlu.a.cloze.one_fact": [1.0],
        "mmlu.a.cloze.two_hops": [0.0],
        "mmlu.a.letter": [0.0],
        "mmlu.a.letter.one_fact": [0.0],
    }
    rows = [
        {
            "subject": "s",
            "question": "q",
            "cloze_before": True,
            "cloze_after": False,
            "written_after": "a text",
        }
    ]
    assert {key: [*m.values.values()] for key, m in of("knowledge@a", questions=rows).items()} == {
        "knowledge.a.cloze": [0.0]
    }


def test_scores_have_an_interval_and_no_test_and_what_got_none_is_in_no_pair():
    def answer(n: int, score: float | None) -> dict:
        return {
            "instruction": f"i{n}",
            "input": "",
            "reference": "r",
            "score": score,
            "exact": score == 100,
            "rouge_l": 0.5,
        }

    before = of("judge@a", scores=[answer(n, s) for n, s in enumerate((10, 20, None, 40))])
    after = of("judge@a", scores=[answer(n, s) for n, s in enumerate((30, 40, 50, 20))])
    found = items.paired(before["judge.a"], after["judge.a"])
    assert (found.unit, found.n, found.gained, found.lost, found.p) == ("points", 3, 2, 1, None)
    assert found.difference["value"] == pytest.approx(20 / 3)
    exact = items.paired(before["judge.a.exact_match"], after["judge.a.exact_match"])
    assert (exact.n, exact.gained, exact.lost, exact.p) == (4, 0, 0, 1.0)


def test_messages_are_right_where_the_label_was_said_by_the_best_in_further_tests():
    rows = [{"text": "t", "label": "spam", "predictions": {"all": "spam", "tfidf": "ham"}}]
    found = of("accuracy", predictions=rows, tests={"hard": rows}, metrics={"best": "tfidf"})
    assert {key: [*m.values.values()] for key, m in found.items()} == {
        "classify.all": [1.0],
        "classify.tfidf": [0.0],
        "classify.tests.hard": [0.0],
    }


@pytest.mark.parametrize("rows", [None, [], {}, [3], [{"predictions": 3}], "text"])
def test_a_stage_that_wrote_nothing_or_another_form_has_no_items(rows):
    assert of("mmlu@a", questions=rows) == {}
    assert of("accuracy", predictions=rows) == {}
    assert of("pretrain", questions=rows) == {}
