"""The tables of the page, cell by cell."""

from types import SimpleNamespace

from llmill.evaluation.statistics.intervals import share
from llmill.report import evaluations, tables
from llmill.report.summary import Row


def test_repeats_of_ones_own_questions_are_counted_as_left_out():
    asked = {"rows": 21, "duplicates": 1, "dev": 5, "val": 0, "test": 15}
    assert tables.labelled({"mmlu": asked}).rows[-1] == (
        "questions (dev, val, test)", "21", "1 duplicate", "5", "0", "15",
    )  # fmt: skip
    assert tables.labelled({"mmlu": {"dev": 5, "val": 9, "test": 15}}).rows[-1] == (
        "questions (dev, val, test)", "29", "none", "5", "9", "15",
    )  # fmt: skip


def test_pairs_of_answers_are_labelled_data_and_undecided_ones_are_left_out():
    splits = {"train": {"rows": 80}, "validate": {"rows": 8}, "test": {"rows": 9}}
    prepared = {"preference": {"rows": 100, "duplicates": 1, "undecided": 2, **splits}}
    assert tables.labelled(prepared).rows[2] == (
        "preference", "100", "1 duplicate; 2 undecided", "80", "8", "9",
    )  # fmt: skip


def test_what_the_intervals_of_a_table_cover_stands_below_it_or_in_a_column():
    items = share(50, 100, 0.95)
    both = {**items, "covers": "both"}
    shown = "50.0 % (40.4 to 59.6)"
    alike = tables.with_intervals(("", "right"), [["a", (items, "share")], ["b", (0.5, "share")]])
    assert alike == tables.Table(
        ("", "right"), [["a", shown], ["b", "50.0 %"]], over="over items"
    )  # fmt: skip
    differ = tables.with_intervals(
        ("", "right"), [["a", (items, "share")], ["b", (both, "share")], ["c", (0.5, "share")]]
    )
    assert differ.head == ["", "right", "intervals"]
    assert differ.rows == [
        ["a", shown, "over items"],
        ["b", shown, "over items and seeds"],
        ["c", "50.0 %", "–"],
    ]
    assert differ.over == ""


def test_a_baseline_at_the_top_of_the_page_breaks_between_words_and_not_inside_an_interval():
    against = "before tuning 97.6 %, difference -2.0 (-4.3 to +0.3 over items) points"
    row = Row("k", "group", "name", "share", share(50, 100, 0.95), against)
    assert tables.headlines([row]) == {
        "group": [
            ("name", "50.0 %", "40.4 to 59.6", "items", "100", "before tuning 97.6 %, difference "
             "-2.0 (-4.3\u00a0to\u00a0+0.3\u00a0over\u00a0items) points")
        ]
    }  # fmt: skip


def test_each_metric_by_kind_of_instruction_is_a_table_of_its_own_with_a_column_for_each_model():
    points = {"value": 40.0, "low": 30.0, "high": 50.0, "n": 9, "covers": "items"}
    found = {"past_tense": {"exact_match": share(5, 10, 0.95), "mean": points, "n": 10}}
    metrics = {"judge@pretrain": {}, "judge@instruct": {"by_kind": found}}
    results = SimpleNamespace(variants={"judge": ["pretrain", "instruct"]}, metrics=metrics)
    exact = evaluations.kinds(results, "exact_match")
    assert exact.head == ["kind", "answers", "foundation model", "instruct model"]
    assert exact.rows == [["past tense", "10", "–", "50.0 % (23.7 to 76.3)"]]
    assert evaluations.kinds(results, "mean").rows[0][3] == "40.0 (30.0 to 50.0)"
    assert evaluations.kinds(results, "rouge_l").rows[0][3] == "–"


def test_what_the_judge_agrees_with_has_a_row_for_each_rater_that_could_be_compared():
    figure = share(50, 100, 0.95)
    agreement = {
        "rules": {"kappa": figure, "spearman": figure},
        "alpha": {"ordinal": figure},
        "length": {"others": figure},
    }
    metrics = {"judge@prefer": {"agreement": agreement}, "judge@instruct": {}}
    results = SimpleNamespace(variants={"judge": ["instruct", "prefer"]}, metrics=metrics)
    shown, model = "0.500 (0.404 to 0.596)", "preference-tuned model"
    assert evaluations.agreement(results).rows == [
        [f"{model}: the rules", "100", shown, shown, "–"],
        [f"{model}: length of other answers", "100", "–", shown, "–"],
    ]
    assert evaluations.alphas(results).rows == [[model, "100", "–", shown, "–"]]


def test_what_several_judges_reach_has_a_row_for_each_seed_above_their_mean():
    items = share(50, 100, 0.95)
    both = {**items, "covers": "both"}
    points = {"value": 4.0, "low": 3.0, "high": 5.0, "n": 9, "covers": "items"}
    seed = {"above_another": items, "gives": {"empty": points}}
    grader = {"above_another": both, "gives": {"empty": {**points, "covers": "both"}}}
    auc = {"auc": both, "auc_by_seed": {"1": items, "2": items}}
    metrics = {"grader": grader, "judge@instruct": auc, "judge@pretrain": {}}
    results = SimpleNamespace(variants={"judge": ["pretrain", "instruct"]}, metrics=metrics)
    assert evaluations.judges(results).rows == []
    grader["by_seed"] = {"1": seed, "2": seed}
    found = evaluations.judges(results)
    assert found.head[3] == "right answers of the instruct model ranked above others"
    shown, given = "50.0 % (40.4 to 59.6)", "4.0 (3.0 to 5.0)"
    assert found.rows == [
        ["seed 1", shown, "–", shown, given, "–", "over items"],
        ["seed 2", shown, "–", shown, given, "–", "over items"],
        ["mean", shown, "–", shown, given, "–", "over items and seeds"],
    ]


def test_ways_to_pick_stand_beside_a_baseline_each():
    by = {unit: {"all": share(n, 10, 0.95)} for n, unit in enumerate(("sum", "byte"), 5)}
    found = {"by": by, "blind": share(3, 10, 0.95), "calibration_error": 0.25}
    metrics = {
        "letter": found, "cloze": found,
        "longest": share(2, 10, 0.95), "most_shared": share(4, 10, 0.95),
    }  # fmt: skip
    results = SimpleNamespace(variants={"mmlu": ["instruct"]}, metrics={"mmlu@instruct": metrics})
    table = evaluations.ways_to_pick(results)
    assert table.head == ["", "plain sum", "per byte", "baseline", "calibration error"]
    model = ["50.0 % (23.7 to 76.3)", "60.0 % (31.3 to 83.2)", "30.0 % (10.8 to 60.3)", "25.0 %"]
    assert [row[1:] for row in table.rows] == [
        model,
        model,
        ["–", "–", "20.0 % (5.7 to 51.0)", "–"],
        ["–", "–", "40.0 % (16.8 to 68.7)", "–"],
    ]
