from dataclasses import replace

import pytest

from llmill.report import summary
from llmill.report.about import About, Headline


def test_variants_keep_the_order_of_dvc_yaml(results):
    found = [address for address in results.curves if address.startswith("classify@")]
    assert found == [
        f"classify@{variant}" for variant in ("last_layer", "last_block", "last_two_blocks", "all")
    ]


def test_curves_keep_the_order_of_dvc_yaml(results):
    known = ["pretrain", "classify@all", "instruct", "grader"]
    assert [address for address in results.curves if address in known] == known


def test_a_curve_holds_only_what_was_measured(results):
    first, last = results.curves["pretrain"][0], results.curves["pretrain"][-1]
    assert set(first) == {"step", "tokens", "lr", "train_loss"}
    assert set(last) == {"step", "tokens", "lr", "train_loss", "validation_loss"}


def test_baselines_stand_before_the_variants():
    found = {"baselines": {"other": 1, "tfidf": 2, "majority": 3}, "variants": {"all": 4}}
    assert list(summary.systems(found)) == ["majority", "tfidf", "other", "all"]


def test_every_level_has_a_row_in_the_cloze_format_beside_chance(results):
    rows = {row.key: row for row in summary.rows(results, {})}
    row = rows["mmlu.pretrain.cloze.two_hops"]
    assert (row.name, row.unit, row.against) == ("two hops", "share", "chance 25.0 %")
    assert row.figure["n"] == 60
    assert "mmlu.instruct.letter" in rows
    assert "mmlu.instruct.letter.two_hops" not in rows


def test_a_further_test_has_a_row_of_the_best_variant_beside_the_baselines(results):
    row = {row.key: row for row in summary.rows(results, {})}["classify.tests.everyday"]
    assert (row.name, row.figure["value"], row.figure["n"]) == ("everyday", 0.975, 40)
    assert row.against == "majority class 55.0 %, TF-IDF with logistic regression 82.5 %"


def test_keys_are_unique_and_values_are_numbers(results):
    rows = summary.rows(results, {"instruct": {"value": 50.0, "low": 48.0, "high": 52.0, "n": 299}})
    assert len({row.key for row in rows}) == len(rows)
    assert summary.flat(rows)["judge.instruct.gain"] == 50.0


def test_a_few_sentences_say_what_came_out(results):
    sentence = summary.sentence(results)
    assert sentence.startswith(
        "The foundation model has 1.05 million parameters and was trained on 2.62 million tokens. It "
        "answers 74.0 % (69.7 to 78.0 over items) of the questions correctly in the cloze format, where "
        "chance is 25.0 %. The best classifier (variant all) is right on 98.4 % (97.4 to 99.1 over items) of the "
    )
    assert ". Of the answers of the preference-tuned model, " in sentence
    assert sentence.endswith(" over items) match the reference word for word.")


@pytest.mark.parametrize(
    ("tokens", "said"),
    [(0, "not trained further"), (2_621_440, "trained on 2.62 million further tokens")],
)
def test_a_model_that_was_loaded_says_so(results, tokens, said):
    trained = {**results.metrics["pretrain"], "tokens": tokens}
    begun = replace(
        results,
        sources={**results.sources, "init": [{"name": "smollm2"}]},
        metrics={**results.metrics, "pretrain": trained},
    )
    first = summary.sentence(begun).split(". It answers")[0]
    assert first == f"The foundation model has 1.05 million parameters. It was loaded and {said}"


def test_exact_match_stands_above_the_judge_whose_mean_stands_beside_what_it_gives_to_nothing(
    results,
):
    gain = {"instruct": {"value": 50.0, "low": 48.0, "high": 52.0, "n": 299}}
    wanted = [
        "judge.prefer.exact_match",
        "judge.instruct.exact_match",
        "judge.pretrain.exact_match",
        "judge.prefer.rouge_l",
        "judge.instruct.rouge_l",
        "judge.pretrain.rouge_l",
        "judge.prefer",
        "judge.instruct",
        "judge.pretrain",
        "judge.instruct.gain",
        "judge.prefer.auc",
        "judge.instruct.auc",
        "judge.gives.reference",
        "judge.gives.another",
        "judge.gives.constant",
        "judge.gives.empty",
    ]
    rows = [row for row in summary.rows(results, gain) if row.key in wanted]
    assert [row.key for row in rows] == wanted
    assert [rows[6].group, rows[10].group] == [
        "Answers to the test instructions, score of the judge (0 to 100)",
        "Quality of the judge",
    ]
    assert rows[10].against == "longer answer 50.0 %, ROUGE-L 99.0 %"
    assert [row.figure["value"] for row in rows[-4:]] == [77.0, 66.0, 45.0, 31.0]


def test_a_row_of_the_table_brings_a_stage_s_figures_onto_the_page(results, monkeypatch):
    """Those of each variant, under its model's name, beside another figure of the stage."""
    shown = About(
        heading="Kept",
        headlines=(Headline("free", "written.after", "freely", "share", "was {written.before}"),),
    )
    monkeypatch.setattr(summary, "ABOUT", {"knowledge": shown})
    monkeypatch.setattr(summary, "about", {"knowledge": shown}.get)
    rows = [(r.key, r.group, r.name, r.against) for r in summary.rows(results, {})]
    assert rows == [
        ("knowledge.instruct.free", "Kept, instruct model", "freely", "was 95.0 %"),
        ("knowledge.prefer.free", "Kept, preference-tuned model", "freely", "was 95.0 %"),
    ]


def test_what_preferences_taught_and_cost_is_among_the_headlines(results):
    rows = {row.key: row for row in summary.rows(results, {})}
    accuracy = rows["prefer.accuracy"]
    assert (accuracy.figure["value"], accuracy.unit) == (0.72, "share")
    before = ", likelihood alone before training –"  # not measured in this one
    assert accuracy.against == "longer answer 55.0 %" + before
    assert rows["prefer.drift"].figure == 1.234
    assert rows["knowledge.prefer.cloze"].figure["value"] == 0.35


def test_what_a_tuned_model_knows_stands_beside_what_it_knew_before_and_the_difference(results):
    rows = {row.key: row for row in summary.rows(results, {})}
    knowledge = {key: row for key, row in rows.items() if key.startswith("knowledge.instruct")}
    change = "before tuning 95.0 %, difference -55.0 (-61.0 to -49.0 over items) points"
    assert {key: (row.name, row.figure["value"], row.against) for key, row in knowledge.items()} == {
        "knowledge.instruct.cloze": ("cloze, behind the question", 0.4, change),
        "knowledge.instruct.written": (
            "written freely behind the question", 0.4, f"{change}, another question's text 2.0 %",
        ),
        "knowledge.instruct.in_template": ("cloze, in the assistant's template", 0.4, change),
        "knowledge.instruct.answered": (
            "answered in the template, against written behind the question", 0.4,
            f"{change}, another question's answer 3.0 %",
        ),
    }  # fmt: skip
    assert {row.group for row in knowledge.values()} == {
        "Knowledge kept after tuning, instruct model"
    }


def test_a_difference_that_an_older_run_lacks_is_a_dash(results):
    older = {"cloze": {"before": 0.95, "after": 0.4}}
    metrics = {**results.metrics, "knowledge@instruct": older}
    rows = {row.key: row for row in summary.rows(replace(results, metrics=metrics), {})}
    assert rows["knowledge.instruct.cloze"].against == "before tuning 95.0 %, difference – points"
    assert "knowledge.instruct.written" not in rows
