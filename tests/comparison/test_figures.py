"""Where the report's figures come from, and which have moved."""

import pytest

from llmill.comparison import figures
from llmill.contract import record
from llmill.report import files, form, summary
from tests.report import finished

COMPUTED = {"judge.instruct.gain", "judge.prefer.gain"}  # by the report, from answers of two stages


def test_every_figure_of_a_report_is_found_in_the_metrics_of_its_stage(tmp_path, monkeypatch):
    finished.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    stages = finished.stages()
    results = files.read(finished.before(), finished.Job(stages, tmp_path / "out").inputs)
    gain = {"value": 3.0, "low": 2.0, "high": 4.0, "n": 9}
    gains = {"instruct": gain, "prefer": gain}
    rows = summary.plain(summary.rows(results, gains))
    assert len(rows) > 40
    for row in rows:
        address, paths = figures.place(row["key"], stages)
        if row["key"] in COMPUTED:
            assert (address, paths) == (f"judge@{row['key'].split('.')[1]}", [])
            continue
        metrics = record.read_json(tmp_path / stages[address].out / "metrics.json")
        assert form.value_of(figures.at(row["key"], address, metrics)) == form.value_of(
            row["figure"]
        ), row["key"]


ROW = {"key": "mmlu.a.cloze", "group": "Cloze", "name": "all", "unit": "share", "against": ""}
SAME = {"key": "mmlu.a.letter", "group": "The same, letter", "name": "all", "unit": "share"}


def headlines(old, new, metrics, both=("mmlu@a", "report")):
    rows = [
        [ROW | {"figure": f}, SAME | {"figure": 1.0}] if f is not None else None for f in (old, new)
    ]
    return figures.headlines(tuple(rows), metrics, ["mmlu@a", "report"], both)


@pytest.mark.parametrize(
    ("old", "new", "metrics", "before", "after"),
    [
        # The report of one side is older than its stage.
        (0.5, 0.5, ({"cloze": {"all": 0.5}}, {"cloze": {"all": 0.75}}), 0.5, 0.75),
        # What one side's stage left is gone, but not its report.
        (0.5, 0.25, (None, {"cloze": {"all": 0.75}}), 0.5, 0.75),
        # One report is gone, but not what the stages left.
        (None, 0.25, ({"cloze": {"all": 0.5}}, {"cloze": {"all": 0.75}}), 0.5, 0.75),
    ],
)
def test_a_figure_is_that_of_its_stage_and_else_that_of_the_report(
    old, new, metrics, before, after
):
    found = headlines(old, new, {"mmlu@a": metrics})[0]
    assert (found.before, found.after, found.has_moved) == (before, after, True)


def test_a_stage_whose_output_is_the_same_has_the_same_figures_though_a_report_is_gone():
    found = headlines(None, 0.25, {})[0]
    assert (found.before, found.after, found.has_moved, found.is_alone) == (
        0.25,
        0.25,
        False,
        False,
    )


def test_a_figure_of_a_stage_that_one_side_lacks_has_not_stayed():
    found = headlines(0.5, None, {}, both=["report"])[0]
    assert (found.before, found.after) == (0.5, None)
    assert (found.has_moved, found.has_stayed, found.is_alone) == (False, False, True)


@pytest.mark.parametrize(
    ("before", "after", "stayed"),
    [(0.5, 0.5, True), (0.5, 0.6, False), (None, 0.5, False), (None, None, False)],
)
def test_a_figure_that_no_side_has_did_not_stay(before, after, stayed):
    figure = figures.Figure("mmlu.a.cloze", "mmlu@a", "Cloze", "all", "share", before, after)
    assert figure.has_stayed == stayed


def test_a_group_that_is_the_same_as_the_one_before_is_named_by_it():
    assert headlines(0.5, 0.5, {})[1].group == "Cloze, letter"


def test_other_figures_are_every_number_under_its_dotted_name():
    old = {
        "a": {"value": 1.0, "low": 0.0, "high": 2.0, "n": 3},
        "b": {"c": 1, "d": 2},
        "gone": 1,
        "on": True,
        "list": [1],
    }
    new = {
        "a": {"value": 1.5, "low": 0.0, "high": 2.0, "n": 3},
        "b": {"c": 1, "d": 3},
        "on": False,
        "list": [2],
    }
    found = figures.others("stage", (old, new))
    assert [(f.name, form.value_of(f.before), form.value_of(f.after)) for f in found] == [
        ("a", 1.0, 1.5), ("b.d", 2.0, 3.0), ("gone", 1.0, None)
    ]  # fmt: skip
    assert figures.others("stage", (None, new)) == []
