"""The tables of what a tuned model kept, cell by cell, and the points of the figure."""

from dataclasses import replace

import pytest

from llmill.report import files, keeping
from llmill.report.form import NO_BREAK

BEFORE = {"value": 0.9764, "low": 0.952, "high": 0.9886, "n": 297, "covers": "items"}
AFTER = {"value": 0.9562, "low": 0.9264, "high": 0.9743, "n": 297, "covers": "items"}
LESS = {"value": -0.0202, "low": -0.0428, "high": 0.0027, "n": 297, "covers": "items"}
WAY = {
    "before": BEFORE, "after": AFTER, "kept": 282, "lost": 8, "gained": 2, "difference": LESS,
}  # fmt: skip
KEPT = [
    "97.6 % (95.2 to 98.9)", "95.6 % (92.6 to 97.4)", "282", "8", "2", "-2.0 (-4.3 to +0.3)",
]  # fmt: skip
SHARES = {
    "judge@pretrain": {"exact_match": {"value": 0.0}},
    "judge@instruct": {"exact_match": {"value": 0.75}},
    "judge@prefer": {"exact_match": {"value": 0.73}},
    "knowledge@instruct": {"cloze": {"before": {"value": 0.97}, "after": {"value": 0.95}}},
    "knowledge@prefer": {"cloze": {"before": {"value": 0.97}, "after": {"value": 0.94}}},
}


def of(metrics):
    return files.Results({}, {}, {}, {}, metrics, {}, {}, [], {}, [], [])


def test_each_way_of_asking_has_a_row_with_both_models_and_a_baseline():
    others = {"before": 0.007, "after": 0.008, "answered": 0.013}
    measured = dict.fromkeys(("cloze", "in_template", "written", "answered"), WAY)
    metrics = {**measured, "chance": 0.25, "of_others": others}
    table = keeping.ways(of({"knowledge@instruct": metrics}), "instruct")
    assert table.head == (
        "asked", "baseline", "foundation model", "instruct model", "kept", "lost", "gained",
        "difference, points",
    )  # fmt: skip
    assert (table.left, table.over) == (2, "over items")
    assert [[cell.replace(NO_BREAK, " ") for cell in row] for row in table.rows] == [
        ["cloze, behind the question", "chance 25.0 %", *KEPT],
        ["written freely behind the question", "another question's text: before 0.7 %, after 0.8 %", *KEPT],
        ["cloze, in the assistant's template", "chance 25.0 %", *KEPT],
        ["answered in the template, against written behind the question",
         "another question's text 0.7 %, answer 1.3 %", *KEPT],
    ]  # fmt: skip


def test_a_way_that_was_not_measured_has_no_row_and_a_missing_figure_is_a_dash():
    metrics = {"cloze": {"before": BEFORE, "after": AFTER}}
    (row,) = keeping.ways(of({"knowledge@prefer": metrics}), "prefer").rows
    assert row[0] == "cloze, behind the question"
    assert row[1] == "chance –"
    assert row[2:] == [*KEPT[:2], "–", "–", "–", "–"]
    assert keeping.ways(of({"knowledge@prefer": {}}), "prefer").rows == []


def test_the_loss_has_a_row_for_each_model_and_source(results):
    assert keeping.losses(results).rows == [
        ("instruct model", "news", "4,096", "3.000", "3.500", "+0.500"),
        ("instruct model", "world", "12,000", "0.750", "0.625", "-0.125"),
        ("preference-tuned model", "news", "4,096", "3.000", "3.500", "+0.500"),
        ("preference-tuned model", "world", "12,000", "0.750", "0.625", "-0.125"),
    ]
    assert keeping.losses(of({"knowledge@instruct": {}})).rows == []


def test_a_model_is_a_point_if_its_task_and_its_knowledge_were_measured():
    found = {
        model: (task["value"], known["value"])
        for model, (task, known) in keeping.points(of(SHARES)).items()
    }
    assert found == {"pretrain": (0.0, 0.97), "instruct": (0.75, 0.95), "prefer": (0.73, 0.94)}


@pytest.mark.parametrize(
    ("changed", "left"),
    [
        ({"knowledge@prefer": {"skipped": "why"}}, ["pretrain", "instruct"]),
        ({"knowledge@prefer": {}}, ["pretrain", "instruct"]),
        ({"judge@pretrain": {}}, ["instruct", "prefer"]),
        ({"judge@instruct": {"skipped": "why"}, "judge@prefer": {"skipped": "why"}}, []),
        ({"knowledge@instruct": {"skipped": "why"}, "knowledge@prefer": {"skipped": "why"}}, []),
    ],
)
def test_a_model_without_one_of_the_two_is_no_point_and_one_point_alone_is_none(changed, left):
    assert list(keeping.points(of({**SHARES, **changed}))) == left


def test_chance_is_that_of_the_questions_if_any_model_was_measured(results):
    assert keeping.chance(results) == 0.25
    assert keeping.chance(of({"knowledge@instruct": {"skipped": "why"}})) is None


def test_skipped_models_are_not_among_the_measured_ones(results):
    assert keeping.models(results) == ["instruct", "prefer"]
    metrics = {**results.metrics, "knowledge@prefer": {"skipped": "download.preference is null"}}
    assert keeping.models(replace(results, metrics=metrics)) == ["instruct"]


def test_weights_between_have_a_row_each_and_none_without_interpolation():
    rows = [
        {"share": 0.8, "validation_loss": 0.25, "exact_match": 0.732},
        {"share": 1.0, "validation_loss": 0.125},
    ]
    assert keeping.interpolation({"interpolation": rows}).rows == [
        ("80.0 %", "0.250", "73.2 %"),
        ("100.0 %", "0.125", "–"),
    ]
    assert keeping.interpolation({}).rows == []
