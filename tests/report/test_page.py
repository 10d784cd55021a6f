from collections import defaultdict
from dataclasses import replace

from llmill.report import files, page
from tests.report import finished


def test_a_training_is_noted_by_its_steps_and_a_matrix_by_its_variants(tmp_path, monkeypatch):
    finished.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    job = finished.Job(finished.stages(), tmp_path / "out")
    notes = page.notes(files.read(finished.before(), job.inputs))
    assert notes == {
        "download": "6.2 MB",
        "prepare": "23,120 texts",
        "tokenizer": "1,024 tokens",
        "tokenize": "2.62M tokens",
        "pretrain": "640 steps",
        "classify": "4 variants",
        "instruct": "640 steps",
        "prefer": "64 steps",
        "grader": "320 steps",
        "accuracy": "98.4 %",
        "mmlu": "74.0 %",
        "knowledge": "2 variants",
        "signals": "70.0 % pairs",
        "judge": "39.7 % exact",
        "contamination": "210 overlap",
        "report": "this page",
    }


def test_samples_are_shown_by_prompt_at_evenly_spread_steps():
    rows = [{"step": s, "prompt": p, "text": "."} for s in range(10, 210, 10) for p in "ab"]
    shown = page.samples(rows)
    assert list(shown) == ["a", "b"]
    steps = [row["step"] for row in shown["a"]]
    assert len(steps) == 6
    assert (steps[0], steps[-1]) == (10, 200)


def test_one_sample_or_none_is_shown_too():
    assert page.samples([]) == {}
    assert page.samples([{"step": 5, "prompt": "a", "text": "."}])["a"][0]["step"] == 5


def test_best_and_worst_leave_out_what_got_no_score():
    scores = [{"answer": a, "score": s} for a, s in zip("abcd", (50, None, 90, 50), strict=True)]
    found = page.examples(scores, 2)
    assert [row["answer"] for row in found["best"]] == ["c", "a"]
    assert [row["answer"] for row in found["worst"]] == ["a", "d"]


def rendered(results, metrics):
    """The page with some stages' metrics in the place of theirs."""
    changed = replace(results, metrics={**results.metrics, **metrics})
    image = page.Image(b"", b"", "")
    setting = page.Setting("title", 2, {})
    return page.render(changed, [], {}, defaultdict(lambda: image), setting)


def test_several_judges_are_shown_by_seed_and_one_is_not(tmp_path, monkeypatch):
    finished.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    job = finished.Job(finished.stages(), tmp_path / "out")
    results = files.read(finished.before(), job.inputs)
    assert "<h3>By seed</h3>" not in rendered(results, {})
    grader = results.metrics["grader"] | {"by_seed": {"1": results.metrics["grader"]}}
    least = {"kind": "past_tense", "seed": "1", "auc": 0.75, "pairs": 4}
    judged = results.metrics["judge@prefer"] | {"least_by_kind": least}
    text = " ".join(rendered(results, {"grader": grader, "judge@prefer": judged}).split())
    assert (
        "For the preference-tuned model, the weakest kind of instruction is past tense: there, the "
        "judge of seed 1 ranks right answers above other answers in 75.0 % of 4 pairs. </p>" in text
    )


def test_what_a_server_was_asked_and_could_not_say_stands_beside_its_scores(tmp_path, monkeypatch):
    finished.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    job = finished.Job(finished.stages(), tmp_path / "out")
    results = files.read(finished.before(), job.inputs)
    server = {
        "prompt": {"name": "score-2", "sha256": "0"}, "samples": 3, "replies": 900, "unread": 41,
        "spread": {"value": 4.25, "low": 3.0, "high": 5.5, "n": 300},
        "tokens": {"input": 123456, "output": 900, "uncounted": 0},
    }  # fmt: skip
    judged = results.metrics["judge@prefer"] | {"backend": "openai", "model": "j", "server": server}
    every = {m: judged for m in results.metrics if m.startswith("judge@")}
    text = rendered(results, every)
    assert "the model j on a server, with the prompt\nscore-2." in text
    said = " ".join(text.split())
    assert (
        "Of the server’s 900 replies, 41 could not be read. The replies used 123,456 input tokens "
        "and 900 output tokens. The standard deviation between replies to the same answer is 4.2 "
        "(3.0 to 5.5) points." in said
    )


def test_why_nothing_is_said_of_text_learnt_by_heart_stands_where_it_would(tmp_path, monkeypatch):
    finished.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    results = files.read(finished.before(), finished.Job(finished.stages(), tmp_path / "o").inputs)
    assert "did not measure memorisation" not in rendered(results, {})
    reason = "0.50 epochs of the training text were read"
    signals = results.metrics["signals"] | {"memorisation": {"left_out": reason}}
    said = " ".join(rendered(results, {"signals": signals}).split())
    assert (
        f"<p>llmill did not measure memorisation: {reason}, so a window of it may be new." in said
    )


def test_short_rows_of_pretraining_are_said_below_its_curve(tmp_path, monkeypatch):
    finished.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    results = files.read(finished.before(), finished.Job(finished.stages(), tmp_path / "o").inputs)
    said = "rows have these parts of the context: 1/4, 1/2, all. The validation reads whole rows."
    for times, steps, is_said in (([4, 2, 1], 640, True), ([1], 640, False), ([4, 2, 1], 0, False)):
        kept = {"parameters": {"pretrain": {"shorten_rows": times}}}
        records = {**results.records, "pretrain": results.records["pretrain"] | kept}
        metrics = {"pretrain": results.metrics["pretrain"] | {"steps": steps}}
        text = " ".join(rendered(replace(results, records=records), metrics).split())
        assert (said in text) == is_said
