"""Stage report on a small finished chain: one page with everything in it, the same bytes every time."""

import base64
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.evaluation.statistics import intervals
from llmill.stages.report import gains
from tests.report import finished

FIGURES = [
    "by_parameters",
    "classification",
    "confusion",
    "grader",
    "judge",
    "loss",
    "mmlu_levels",
    "mmlu_subjects",
    "preferences",
    "task_and_knowledge",
]
GONE = ("judge", "grader", "mmlu.instruct", "mmlu.prefer", "knowledge", "prefer")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    root = tmp_path_factory.mktemp("a run")
    finished.write(root)
    with pytest.MonkeyPatch.context() as patch:
        return finished.report(root, patch)


@pytest.fixture(scope="module")
def page(job):
    return (job.out / "index.html").read_text(encoding="utf-8")


@pytest.fixture
def chain(tmp_path):
    finished.write(tmp_path)
    return tmp_path


def files(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): record.sha256_file(p) for p in record.files_under(folder)
    }


def test_it_leaves_the_page_the_figures_and_the_headline_figures(job):
    figures = [f"figures/{name}.png" for name in FIGURES]
    assert list(files(job.out)) == [*figures, "index.html", "metrics.json", "summary.json"]


def test_the_page_says_what_the_baseline_counts(page):
    assert (
        "on TF-IDF of characters and character pairs, because no training message has a word."
        in page
    )


def test_the_page_holds_every_figure_as_a_data_uri_light_and_dark(job, page):
    light = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)">', page)
    dark = re.findall(r'dark\)" srcset="data:image/png;base64,([^"]+)"', page)
    shown = {base64.b64decode(image) for image, _ in light}
    assert shown == {(job.out / "figures" / f"{name}.png").read_bytes() for name in FIGURES}
    assert all(base64.b64decode(image).startswith(PNG) for image in dark)
    assert len(set(dark)) == len(FIGURES)
    assert "98.4 % (97.4 to 99.1 over items)" in next(alt for _, alt in light if "accuracy" in alt)


def test_every_interval_on_the_page_says_what_it_covers(page):
    outside = re.sub(r"<table.*?</table>", "", page, flags=re.DOTALL)
    said = re.findall(r"\([+-]?[\d.]+ to [^)]*\)", outside)
    assert len(said) > 10
    assert [each for each in said if not each.endswith(" over items)")] == []
    tables = re.findall(r"<table.*?</table>", page, flags=re.DOTALL)
    with_intervals = [table for table in tables if re.search(r"\d\u00a0to\u00a0[+-]?\d", table)]
    assert len(with_intervals) > 8
    ways = ("<caption>Intervals are over items.</caption>", '<th scope="col">covers</th>')
    assert [table for table in with_intervals if not any(way in table for way in ways)] == []
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert sum("intervals over items" in caption for caption in captions) == 6
    assert all(
        "interval" not in caption.replace("intervals over items", "") for caption in captions
    )


def test_a_figure_names_no_version_of_the_library_that_drew_it(job):
    for name in FIGURES:
        assert b"Software" not in (job.out / "figures" / f"{name}.png").read_bytes()


def test_the_page_asks_nothing_of_the_network(page):
    targets = re.findall(r'(?:src|href|srcset|action)="([^"]*)"', page)
    assert targets
    assert [t for t in targets if not t.startswith(("#", "data:"))] == []
    assert re.findall(r"@import|url\((?!#)|<script|<iframe|<object", page) == []
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page


def test_text_that_looks_like_html_is_shown_and_not_obeyed(page):
    assert finished.SCRIPT not in page
    assert "&lt;script&gt;alert(&#39;&amp; more&#39;)&lt;/script&gt;" in page


def test_every_link_inside_the_page_leads_somewhere(page):
    ids = set(re.findall(r'id="([^"]+)"', page))
    assert {link for link in re.findall(r'href="#([^"]+)"', page)} <= ids
    assert len(re.findall(r'id="([^"]+)"', page)) == len(ids)


def test_the_same_inputs_give_the_same_bytes(job, chain, monkeypatch):
    again = finished.report(chain, monkeypatch)
    assert files(again.out) == files(job.out)


def test_the_page_shows_parameters_hashes_and_versions(job, page):
    digest = record.sha256_file(job.out.parent / "pretrain" / "record.json")
    assert digest in page
    assert record.sha256_text("sources.yaml") in page
    assert '<th scope="row">pretrain.training.max_steps</th>' in page
    assert "torch 2.13.0" in page


def test_the_page_shows_what_was_left_out_and_the_best_and_worst_answers(page):
    assert "near duplicate" in page and ">288<" in page
    assert page.count('<span class="score">') == 3 * 2 * 3  # models, best and worst, examples
    assert "Foundation model: worst answers" in page


def test_metrics_are_flat_numbers(job):
    metrics = record.read_json(job.out / "metrics.json")
    assert metrics["mmlu.pretrain.cloze.one_fact"] == 0.95
    assert metrics["classify.tfidf"] == pytest.approx(0.9511, abs=1e-4)
    assert metrics["grader.above_another"] == 0.99
    assert metrics["judge.instruct.auc"] == 0.93
    assert all(isinstance(value, float) for value in metrics.values())
    assert job.sent.items() >= metrics.items()


def test_the_gain_of_the_assistant_is_measured_on_pairs(job):
    rows = {row["key"]: row["figure"] for row in record.read_json(job.out / "summary.json")}
    gain = rows["judge.instruct.gain"]
    assert gain["low"] < gain["value"] < gain["high"]
    assert gain["n"] == 299  # one answer of 300 has no score


def test_a_judge_that_falls_short_has_no_headline_and_the_page_says_of_what(chain, monkeypatch):
    file = chain / "results/judge/instruct/metrics.json"
    record.write_json(file, record.read_json(file) | {"short_of": ["71.0% of pairs in order"]})
    job = finished.report(chain, monkeypatch)
    metrics = record.read_json(job.out / "metrics.json")
    assert "judge.instruct" not in metrics and "judge.instruct.gain" not in metrics
    assert metrics["judge.instruct.auc"] == 0.93
    page = (job.out / "index.html").read_text(encoding="utf-8")
    assert (
        "because the judge does not reach its bar, or was not measured: 71.0% of pairs in order."
        in page
    )


@pytest.mark.parametrize("unmeasured", [("pretrain",), ("pretrain", "instruct", "prefer")])
def test_a_judge_whose_order_of_answers_no_model_measured_has_no_headline(
    chain, monkeypatch, unmeasured
):
    reason = "no right answer to measure the order of answers"
    for model in unmeasured:
        file = chain / "results/judge" / model / "metrics.json"
        found = record.read_json(file) | {"unmeasured": [reason]}
        record.write_json(file, {key: each for key, each in found.items() if key != "auc"})
    job = finished.report(chain, monkeypatch)
    shown = "judge.instruct" in record.read_json(job.out / "metrics.json")
    page = (job.out / "index.html").read_text(encoding="utf-8")
    assert shown == (unmeasured == ("pretrain",))
    assert (f"the judge does not reach its bar, or was not measured: {reason}." in page) != shown


def test_figures_and_page_go_to_the_tracker(job, page):
    for name in FIGURES:
        assert job.sent[name] == (job.out / "figures" / f"{name}.png").read_bytes()
    assert job.sent["index.html"] == page


@pytest.mark.parametrize(
    "path",
    [
        "requirements.lock",
        "results/classify/all/curves.csv",
        "results/judge/instruct/scores.json",
        "results/grader/heldout.json",
        "data/prepare/record.json",
        "data/download/mmlu/sources.json",
    ],
)
def test_a_missing_input_is_named_in_one_line(chain, monkeypatch, path):
    (chain / path).unlink()
    with pytest.raises(UserError, match=f"^{re.escape(path)}: missing; ") as error:
        finished.report(chain, monkeypatch)
    assert "\n" not in str(error.value)


def test_a_damaged_curve_is_named(chain, monkeypatch):
    (chain / "results/pretrain/curves.csv").write_text("step,train_loss\n1,abc\n")
    with pytest.raises(
        UserError, match=r"^results/pretrain/curves\.csv: not a valid file of curves "
    ):
        finished.report(chain, monkeypatch)


def test_figures_that_a_stage_left_out_are_dashes(chain, monkeypatch):
    for stage in finished.before().values():
        record.write_json(chain / stage.out / "metrics.json", {})
    record.write_json(chain / "results/pretrain/samples.json", [])
    record.write_json(chain / "results/grader/heldout.json", [])
    page = (finished.report(chain, monkeypatch).out / "index.html").read_text(encoding="utf-8")
    assert "The foundation model has – parameters" in page
    assert "The parameters request no samples." in page


def test_dvc_yaml_declares_the_record_and_the_figures_of_every_stage(job):
    """That nothing else is opened: the chains that run with LLMILL_AUDIT."""
    declared = {str(path) for path in job.inputs}
    roots = ("data/", "results/")
    read = {
        f"{s.out}/{n}" for s in finished.before().values() for n in ("record.json", "metrics.json")
    }
    assert {path for path in read if "report" not in path} <= declared
    assert all(p.startswith((*roots, "src/")) or p == "requirements.lock" for p in declared)


def test_a_training_that_began_from_weights_and_took_no_step_is_shown_by_source(chain, monkeypatch):
    place = chain / "results/pretrain"
    by_source = {
        "news": {"before": 3.25, "after": 1.5, "tokens": 4096},
        "world": {"before": 0.5, "after": 0.625, "tokens": 12000},
    }
    metrics = record.read_json(place / "metrics.json") | {"by_source": by_source, "steps": 0}
    record.write_json(place / "metrics.json", metrics)
    header = "step,tokens,lr,train_loss,validation_loss,bits_per_byte"
    (place / "curves.csv").write_text(f"{header}\n0,0,,,1.5,0.6\n")
    job = finished.report(chain, monkeypatch)
    page = (job.out / "index.html").read_text(encoding="utf-8")
    cells = re.sub(r"<[^>]+>|\s+", " ", page[page.index("Loss by source, before and after") :])
    assert "news 4,096 3.250 1.500 -1.750 world 12,000 0.500 0.625 +0.125" in " ".join(
        cells.split()
    )
    rows = {row["key"]: row for row in record.read_json(job.out / "summary.json")}
    news = rows["pretrain.by_source.news"]
    assert (news["figure"], news["against"]) == ({"value": 1.5, "n": 4096}, "before 3.250")


def test_a_training_that_began_anew_has_no_losses_by_source(page):
    assert "Loss by source" not in page


def test_an_example_count_of_one_shows_one(chain, monkeypatch):
    monkeypatch.chdir(chain)
    tree = finished.tree()
    one = tree.model_copy(update={"report": tree.report.model_copy(update={"examples": 1})})
    job = finished.Job(finished.stages(), chain / "results" / "report")
    finished.stage.run(finished.stage.Parameters(report=one.report), job)
    page = (job.out / "index.html").read_text(encoding="utf-8")
    assert page.count('<span class="score">') == 3 * 2 * 1


def test_stages_that_were_skipped_are_said_to_be_and_leave_no_rows(chain, monkeypatch):
    why = "download.instruction is null"
    skipped = {"instruct", "prefer", "grader", "mmlu@instruct", "mmlu@prefer"}
    for address, stage in finished.before().items():
        if address in skipped or stage.name in ("judge", "knowledge"):
            folder = chain / stage.out
            record.write_json(folder / "metrics.json", {"skipped": why})
            for file in folder.glob("*.csv"):
                file.write_bytes(b"")
    out = finished.report(chain, monkeypatch).out
    page = (out / "index.html").read_text(encoding="utf-8")
    for section in ("knowledge", "preferences", "answers", "grader"):
        assert re.search(rf'id="{section}">\s*<h2>[^<]+</h2>\s*<p>Skipped: {why}\.</p>', page)
    assert page.count(f"Skipped: {why}.") == 4  # the questions were put to the foundation model
    keys = record.read_json(out / "metrics.json").keys()
    assert not [key for key in keys if key.startswith(GONE)]
    assert [key for key in keys if key.startswith(("mmlu.pretrain", "classify"))]
    assert (out / "figures/judge.png").read_bytes().startswith(PNG)
    assert (out / "figures/preferences.png").read_bytes().startswith(PNG)
    assert "figure-task-and-knowledge" not in page
    assert "Weights between the foundation model" not in page
    sentence = re.search(r'<p class="lead">(.*?)</p>', page)[1]
    assert "of the test messages." in sentence
    assert "answers of the" not in sentence


def test_the_page_says_what_each_variant_trains_and_how_they_differ(page):
    section = page.split('id="classification"')[1].split("</section>")[0].replace("\u00a0", " ")
    assert "196,864" in section
    assert "last block minus all" in section
    assert "83.0 %, 82.0 %" in section  # by seed
    assert ">training messages<" in section
    assert "unseen patterns, 500 messages" in section
    assert "everyday, 40 messages" in section


def test_the_page_says_what_of_the_items_overlaps_and_what_models_score_without(page):
    section = page.split('id="contamination"')[1].split("</section>")[0].replace("\u00a0", " ")
    assert "if 13 of its words in a row" in section
    assert "20 words after the item" in section
    assert "20.0 % (17.5 to 22.7)" in section  # messages that overlap
    assert "95.0 % (90.8 to 97.3)" in section  # with their own label
    assert "instruct model, exact match" in section
    assert "foundation model, cloze" not in section  # of which no item overlaps
    assert "started from pretrained weights" not in section


def test_a_gain_in_scores_by_several_judges_covers_their_seeds():
    def rows(*scores):
        return [
            {"score": sum(each) / 2, "rule": None, "by_seed": {"1": each[0], "2": each[1]}}
            for each in scores
        ]

    judge = {"confidence": 0.95, "bootstrap": 100, "seed": 1}
    records = {"judge@pretrain": {"parameters": {"judge": judge}}}
    variants = {"judge": ["pretrain", "instruct"]}
    ruled = {"score": 0.0, "rule": False, "by_seed": {"1": 50.0, "2": 90.0}}  # the rule's, by both
    scores = {
        "pretrain": [*rows((10, 20), (30, 40)), ruled],
        "instruct": [*rows((20, 40), (50, 70)), {**ruled, "score": 100.0, "rule": True}],
    }
    results = SimpleNamespace(variants=variants, records=records, scores=scores)
    found = gains(results)["instruct"]
    # By the first judge +10, +20 and +100, by the second +20, +30 and +100.
    assert found["value"] == pytest.approx((130 + 150) / 6)
    assert (found["n"], found["covers"]) == (3, "both")
    less = intervals.mean_over_runs([[110, 120, 200], [120, 130, 200]], 200, 0.95)
    assert (found["low"], found["high"]) == (less["low"] - 100, less["high"] - 100)
    one = {
        model: [{k: v for k, v in row.items() if k != "by_seed"} for row in rows]
        for model, rows in scores.items()
    }
    alone = gains(SimpleNamespace(variants=variants, records=records, scores=one))["instruct"]
    assert alone == intervals.mean([15.0, 25.0, 100.0], confidence=0.95, resamples=100, seed=1)


def section_of(page: str, name: str) -> str:
    """The words of a section, without tags."""
    section = page.split(f'id="{name}"')[1].split("</section>")[0]
    return " ".join(re.sub(r"<[^>]+>", " ", section).replace("\u00a0", " ").split())


def test_the_page_says_what_each_tuned_model_kept_and_what_the_task_cost(page):
    words = section_of(page, "knowledge")
    assert "puts the same 240 questions to the foundation model" in words
    assert "They are the questions about one fact." in words
    assert "The foundation model never saw the template" in words
    row = "95.0 % (91.5 to 97.1) 40.0 % (34.0 to 46.3) 90 138 6 -55.0 (-61.0 to -49.0)"
    assert f"cloze, behind the question chance 25.0 % {row}" in words
    assert words.count("answered in the template, against written behind the question") == 2
    assert "instruct model news 4,096 3.000 3.500 +0.500" in words
    assert "80.0 % 0.250 75.0 %" in words  # of the way
    (alt,) = re.findall(r'alt="(Exact match on instructions and cloze [^"]+)"', page)
    assert "foundation model 0.0 % (0.0 to 1.3 over items) and 95.0 % (91.5 to 97.1 over it" in alt


def test_the_page_says_how_the_chosen_and_the_rejected_answers_moved(page):
    words = section_of(page, "preferences")
    assert "measured from the assistant before this tuning" in words
    assert "the higher reward, after tuning 72.0 % (65.4 to 77.8) 200" in words
    assert "less likely than before the tuning at the validation of step 32." in words
    assert "log-likelihood of the chosen answer test -1.000 -1.500 -0.500" in words
    assert "log-likelihood of the rejected answer validation -12.500 -20.000 -7.500" in words
    assert 'alt="Validation pairs by step. At the end, the chosen answer has' in page


def test_the_page_says_what_was_cut_and_what_was_learnt(page):
    words = section_of(page, "training")
    assert "prefer pairs longer than the context: left out 12 1,312" in words


def test_a_chain_without_preferences_shows_what_the_assistant_alone_kept(chain, monkeypatch):
    for name in ("prefer", "mmlu/prefer", "knowledge/prefer", "judge/prefer"):
        record.write_json(
            chain / "results" / name / "metrics.json", {"skipped": "download.preference is null"}
        )
    page = (finished.report(chain, monkeypatch).out / "index.html").read_text(encoding="utf-8")
    assert section_of(page, "preferences").endswith("Skipped: download.preference is null.")
    words = section_of(page, "knowledge")
    assert "Instruct model" in words and "reference-tuned model" not in words
    assert "figure-task-and-knowledge" in page
    assert "figure-preferences" not in page


def test_questions_without_levels_of_weights_from_elsewhere_are_not_said_to_be_about_one_fact(
    chain, monkeypatch
):
    for model in ("pretrain", "instruct", "prefer"):
        file = chain / f"results/mmlu/{model}/metrics.json"
        metrics = record.read_json(file)
        for kind in ("cloze", "letter"):
            del metrics[kind]["levels"]
        record.write_json(file, metrics)
    file = chain / "data/download/text/sources.json"
    record.write_json(chain / "data/download/init/sources.json", record.read_json(file))
    page = (finished.report(chain, monkeypatch).out / "index.html").read_text(encoding="utf-8")
    words = section_of(page, "knowledge")
    assert "240 questions" in words
    assert "one fact" not in words
    assert "never saw the template" not in words


def test_figures_without_their_metrics_are_left_out_of_the_page(chain, monkeypatch):
    (chain / "results/prefer/curves.csv").write_text("step,train_loss\n1,0.5\n")
    for model in ("pretrain", "instruct", "prefer"):
        file = chain / f"results/judge/{model}/metrics.json"
        record.write_json(file, {**record.read_json(file), "exact_match": None})
    job = finished.report(chain, monkeypatch)
    page = (job.out / "index.html").read_text(encoding="utf-8")
    assert "figure-task-and-knowledge" not in page
    assert "figure-preferences" not in page
    for name in ("task_and_knowledge", "preferences"):  # outputs of the stage all the same
        assert (job.out / "figures" / f"{name}.png").read_bytes().startswith(PNG)


def test_rewards_without_a_reference_are_not_said_to_be_measured_from_one(chain, monkeypatch):
    file = chain / "results/prefer/record.json"
    made = record.read_json(file)
    made["parameters"]["prefer"]["loss"]["reference_free"] = True
    record.write_json(file, made)
    page = (finished.report(chain, monkeypatch).out / "index.html").read_text(encoding="utf-8")
    words = section_of(page, "preferences")
    assert "The reward of an answer grows with its log-likelihood." in words
    assert "measured from" not in words
