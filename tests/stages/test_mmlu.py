"""Stage mmlu: figures and files from a model whose picks are known, and what it refuses."""

import json
from types import SimpleNamespace

import pytest

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.model import checkpoint
from llmill.stages import mmlu as stage
from llmill.stages.mmlu import run
from llmill.stages.settings.mmlu import Mmlu
from llmill.tasks import multiple_choice
from llmill.tasks.multiple_choice import Question
from tests.evaluation.toys import Bigram, bytes_tokenizer, decoder, masked
from tests.jobs import Job

LEVELS = {"planets": "one_fact", "sums": "arithmetic"}


def questions(subject, answers):
    return [
        Question(subject, f"{subject} {i}?", ["aa", "bb", "cc", "dd"], answer)
        for i, answer in enumerate(answers)
    ]


@pytest.fixture
def paths(tmp_path):
    """Prepared questions (planets: 3 of 4 are B; sums: 1 of 2; cities, of no level: 0 of 1) and a checkpoint."""
    folder = tmp_path / "data" / "prepare" / "mmlu"
    folder.mkdir(parents=True)
    test = questions("planets", [1, 1, 1, 0]) + questions("sums", [1, 3]) + questions("cities", [2])
    dev = [q for s in ("planets", "sums", "cities") for q in questions(s, [0, 1, 2, 3, 0])]
    multiple_choice.write(folder / "test.jsonl", test)
    multiple_choice.write(folder / "dev.jsonl", dev)
    record.write_json(folder / "levels.json", LEVELS)
    record.write_json(folder / "entities.json", {})
    loaded = checkpoint.Checkpoint(decoder(block_size=512), bytes_tokenizer())
    checkpoint.save(tmp_path / "results" / "instruct" / "checkpoint", loaded)
    return tmp_path


def params(**changes):
    values = {
        "threads": 1, "dtype": "float32", "subjects": [], "shots": 1, "cloze_shots": 0, "too_long": "drop_shots",
        "max_questions": None, "batch_size": 4, "confidence": 0.95,
    }  # fmt: skip
    return SimpleNamespace(mmlu=Mmlu(**{**values, **changes}))


def always_b(monkeypatch, block_size=512):
    """A model that likes the letter B and the text bb, in place of the checkpoint's."""
    model = Bigram([(":", " "), (" ", "B"), (" ", "b"), ("b", "b")], block_size)
    loaded = checkpoint.Checkpoint(model, bytes_tokenizer())
    monkeypatch.setattr(checkpoint, "load", lambda folder, *shared: loaded)


def metrics_of(job):
    return json.loads((job.out / "metrics.json").read_text())


def test_figures_are_the_shares_of_right_picks(paths, tmp_path, monkeypatch):
    always_b(monkeypatch)
    job = Job(tmp_path / "out", "instruct")
    run(params(), job)
    metrics = metrics_of(job)
    for name in ("letter", "cloze"):
        found = metrics[name]
        assert (found["all"]["value"], found["all"]["n"]) == (4 / 7, 7)
        assert {k: v["value"] for k, v in found["subjects"].items()} == {
            "cities": 0.0,
            "planets": 0.75,
            "sums": 0.5,
        }
        assert found["subject_mean"]["value"] == pytest.approx(1.25 / 3)
        assert {k: v["value"] for k, v in found["levels"].items()} == {
            "arithmetic": 0.5,
            "one_fact": 0.75,
        }
        assert found["all"]["low"] < 4 / 7 < found["all"]["high"]
    assert metrics["questions"] == 7
    assert metrics["chance"] == 0.25
    assert metrics["shots"] == {"letter": 1, "cloze": 0}
    assert metrics["shots_dropped"] == {"letter": 0, "cloze": 0}
    assert metrics["prompts_cut"] == {"letter": 0, "cloze": 0}
    assert job.track.seen["cloze.all"] == 4 / 7


def test_beside_each_format_stands_what_knows_less(paths, tmp_path, monkeypatch):
    always_b(monkeypatch)
    job = Job(tmp_path / "out", "instruct")
    run(params(), job)
    metrics = metrics_of(job)
    # B is liked whatever is asked, and all four choices are of one length
    assert metrics["letter"]["blind"]["value"] == metrics["cloze"]["blind"]["value"] == 4 / 7
    assert metrics["longest"]["value"] == metrics["most_shared"]["value"] == 1 / 4
    assert set(metrics["cloze"]["by"]) == {"sum", "token", "byte", "character"}
    assert metrics["cloze"]["by"]["sum"]["levels"]["one_fact"]["value"] == 0.75
    assert 0.3 < metrics["letter"]["calibration_error"] < 0.43  # sure of B, right in four of seven


def test_questions_about_one_entity_count_together(paths, tmp_path, monkeypatch):
    always_b(monkeypatch)
    alone, together = Job(tmp_path / "1", "instruct"), Job(tmp_path / "2", "instruct")
    run(params(), alone)
    about = {f"planets {i}?": "Mars" for i in range(3)}
    record.write_json(tmp_path / "data" / "prepare" / "mmlu" / "entities.json", about)
    run(params(), together)
    assert [metrics_of(job)["clusters"] for job in (alone, together)] == [7, 5]
    widths = [
        metrics_of(job)["cloze"]["all"]["high"] - metrics_of(job)["cloze"]["all"]["low"]
        for job in (alone, together)
    ]
    assert widths[1] > 1.2 * widths[0]


def test_a_row_for_each_question_says_what_was_picked(paths, tmp_path, monkeypatch):
    always_b(monkeypatch)
    job = Job(tmp_path / "out", "instruct")
    run(params(), job)
    rows = json.loads((job.out / "questions.json").read_text())
    assert rows[3] == {
        "subject": "planets",
        "level": "one_fact",
        "question": "planets 3?",
        "cluster": 3,
        "answer": "A",
        "letter": "B",
        "letter_right": False,
        "letter_logprobs": [-7.3157, -2.3157, -7.3157, -7.3157],
        "cloze": "B",
        "cloze_right": False,
        "cloze_logprobs": [-12.8647, -3.3181, -12.8647, -12.8647],
    }
    assert rows[6]["level"] is None
    assert job.track.sent["questions"] == rows


def test_examples_dropped_for_a_small_window_are_counted(paths, tmp_path, monkeypatch):
    always_b(monkeypatch, block_size=128)
    job = Job(tmp_path / "out", "instruct")
    run(params(shots=5), job)
    assert metrics_of(job)["shots_dropped"]["letter"] > 7


def test_the_model_of_the_variant_is_loaded_and_two_runs_write_the_same(paths, tmp_path):
    first, second = (Job(tmp_path / n / "out", "instruct", root=tmp_path) for n in "12")
    run(params(), first)
    run(params(batch_size=1), second)
    for name in ("metrics.json", "questions.json"):
        assert (first.out / name).read_bytes() == (second.out / name).read_bytes()
    with pytest.raises(UserError, match=r"pretrain/checkpoint/config.json: missing"):
        run(params(), Job(tmp_path / "3", "pretrain"))


def test_a_run_that_was_stopped_goes_on_behind_the_subjects_that_it_had_scored(
    paths, tmp_path, monkeypatch
):
    """The second of three subjects is stopped, and the file then begins with one of its questions."""
    asked, stopped, scored = [], ["sums"], stage.cloze_scores

    def watched(*args, questions, asking, **more):
        subject, *others = {question.subject for question in questions}
        assert others == []
        asked.append((subject, asking.blind))
        if subject in stopped:
            raise KeyboardInterrupt
        return scored(*args, questions=questions, asking=asking, **more)

    monkeypatch.setattr(stage, "cloze_scores", watched)
    with pytest.raises(KeyboardInterrupt):
        run(params(), Job(tmp_path / "1", "instruct"))
    stopped.clear()
    folder = tmp_path / "data" / "prepare" / "mmlu"
    test = multiple_choice.read(folder / "test.jsonl")
    multiple_choice.write(folder / "test.jsonl", [test[4], *test[:4], *test[5:]])
    run(params(batch_size=2, threads=2), Job(tmp_path / "2", "instruct"))
    assert asked == [
        ("planets", False),
        ("sums", False),  # stopped
        ("sums", False),
        ("cities", False),
        ("sums", True),
        ("planets", True),
        ("cities", True),
    ]
    whole = Job(tmp_path / "whole" / "out", "instruct", root=tmp_path)
    run(params(), whole)
    for name in ("metrics.json", "questions.json"):
        assert (tmp_path / "2" / name).read_bytes() == (whole.out / name).read_bytes()
    assert len(asked) == 7 + 6


def test_other_examples_are_another_score(paths, tmp_path, monkeypatch):
    seen = []
    for number, shots in enumerate((0, 1, 1)):
        job = Job(tmp_path / str(number), "instruct")
        run(params(cloze_shots=shots), job)
        seen.append(json.loads((job.out / "questions.json").read_text())[0]["cloze_logprobs"])
    assert seen[0] != seen[1] == seen[2]


def test_subjects_and_numbers_of_questions_are_parameters(paths, tmp_path, monkeypatch):
    always_b(monkeypatch)
    job = Job(tmp_path / "out", "instruct")
    run(params(subjects=["planets", "sums"], max_questions=2), job)
    found = metrics_of(job)["letter"]["subjects"]
    assert {name: share["n"] for name, share in found.items()} == {"planets": 2, "sums": 2}


def test_mmlus_own_subjects_come_in_its_four_groups(paths, tmp_path, monkeypatch):
    always_b(monkeypatch)
    folder = tmp_path / "data" / "prepare" / "mmlu"
    multiple_choice.write(folder / "test.jsonl", questions("virology", [1, 0]))
    multiple_choice.write(folder / "dev.jsonl", questions("virology", [1]))
    record.write_json(tmp_path / "data" / "prepare" / "mmlu" / "levels.json", {})
    job = Job(tmp_path / "out", "instruct")
    run(params(), job)
    assert metrics_of(job)["letter"]["levels"]["other"]["value"] == 0.5


def test_an_unknown_subject_is_refused_before_the_model_is_read(paths, tmp_path):
    with pytest.raises(UserError, match="did you mean 'planets'"):
        run(params(subjects=["planet"]), Job(tmp_path / "out", "pretrain"))


def test_no_questions_are_refused(paths, tmp_path):
    (tmp_path / "data" / "prepare" / "mmlu" / "test.jsonl").write_text("")
    with pytest.raises(UserError, match=r"test.jsonl: no questions"):
        run(params(), Job(tmp_path / "out", "instruct"))


def test_a_masked_model_is_refused_in_one_line(paths, tmp_path):
    loaded = checkpoint.Checkpoint(masked(), bytes_tokenizer())
    checkpoint.save(tmp_path / "results/pretrain/checkpoint", loaded)
    with pytest.raises(UserError, match="next token; train classifiers from it: `snakemake"):
        run(params(), Job(tmp_path / "out", "pretrain"))
