"""Stage accuracy: classifiers beside baselines on the same messages, and what it refuses."""

import json
import math
import random
from types import SimpleNamespace

import pytest

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.stages.accuracy import run
from llmill.stages.settings.accuracy import Accuracy
from llmill.tasks import classification
from llmill.tasks.classification import Message
from tests.jobs import Job

VARIANTS = ["last_layer", "all"]


def messages(n, seed):
    """One in four is spam; the words tell which."""
    rng = random.Random(seed)
    words = {"ham": ["hello", "mother", "dinner"], "spam": ["prize", "winner", "cash"]}
    labels = ["spam" if i % 4 == 0 else "ham" for i in range(n)]
    return [
        Message(label, " ".join([*rng.choices(words[label], k=3), str(i)]))
        for i, label in enumerate(labels)
    ]


def scores(
    folder,
    logits,
    labels=("ham", "spam"),
    seeds=(1,),
    sizes=None,
    n=(20, 40),
    tests=None,
    of_test=None,
):
    """What stage classify leaves of a classifier that gives every message these logits, or those of
    the test split others; with several seeds, of one that turns them round at every other seed.
    """
    turned = {str(s): logits[:: -1 if i % 2 else 1] for i, s in enumerate(seeds)}
    folder.mkdir(parents=True, exist_ok=True)
    record.write_json(
        folder / "scores.json",
        {
            "labels": list(labels),
            "trainable_parameters": 32,
            "seeds": {
                s: {
                    "validate": [x] * n[0],
                    "test": [of_test or x] * n[1],
                    "tests": {name: [x] * size for name, size in (tests or {}).items()},
                }
                for s, x in turned.items()
            },
            "sizes": {size: {"1": [x] * n[1]} for size, x in (sizes or {}).items()},
        },
    )


@pytest.fixture
def paths(tmp_path):
    folder = tmp_path / "data" / "prepare" / "classification"
    folder.mkdir(parents=True)
    for seed, (split, n) in enumerate({"train": 80, "validate": 20, "test": 40}.items()):
        classification.write(folder / f"{split}.jsonl", messages(n, seed))
    for variant, logits in zip(VARIANTS, ([0.0, 1.0], [1.0, 0.0]), strict=True):
        scores(tmp_path / "results" / "classify" / variant, logits)
    return tmp_path


def params():
    settings = Accuracy(seed=1, threads=1, confidence=0.95, bootstrap=200)
    return SimpleNamespace(accuracy=settings)


def run_in(paths, folder, variants=VARIANTS):
    job = Job(folder, variants=variants)
    run(params(), job)
    return job, json.loads((job.out / "metrics.json").read_text())


def test_every_classifier_stands_beside_the_baselines(paths, tmp_path):
    job, metrics = run_in(paths, tmp_path / "out")
    systems = {**metrics["variants"], **metrics["baselines"]}
    assert [*metrics["variants"], *metrics["baselines"]] == [
        "last_layer",
        "all",
        "tfidf",
        "majority",
    ]
    assert {name: found["accuracy"]["value"] for name, found in systems.items()} == {
        "last_layer": 0.25,
        "all": 0.75,
        "tfidf": 1.0,
        "majority": 0.75,
    }
    assert systems["last_layer"]["confusion"] == [[0, 30], [0, 10]]
    assert systems["last_layer"]["recall"]["value"] == 1.0
    assert systems["tfidf"]["inverse_regularisation"] in (1.0, 10.0, 100.0)
    assert metrics["labels"] == ["ham", "spam"]
    assert metrics["positive"] == "spam"
    assert metrics["test_messages"] == 40
    assert job.track.seen["variants.all.accuracy"] == 0.75
    assert len(job.said) == 4


def test_the_best_variant_is_chosen_on_validation_and_compared_message_by_message(paths, tmp_path):
    _, metrics = run_in(paths, tmp_path / "out")
    assert metrics["best"] == "all"
    assert metrics["variants"]["all"]["validation_accuracy"] == 0.75
    found = metrics["best_against_tfidf"]
    assert found["difference"]["value"] == -0.25
    assert (found["only_first_right"], found["only_second_right"]) == (0, 10)
    assert found["mcnemar_p"] == pytest.approx(2 / 1024)


def test_a_variant_that_is_right_on_the_test_messages_alone_is_not_the_best(paths, tmp_path):
    ham, spam = [1.0, 0.0], [0.0, 1.0]  # 3 of 4 messages are ham
    scores(tmp_path / "results/classify/unlucky", ham, of_test=spam)
    scores(tmp_path / "results/classify/lucky", spam, of_test=ham)
    _, metrics = run_in(paths, tmp_path / "out", ["lucky", "unlucky"])
    assert metrics["best"] == "unlucky"


def test_of_equal_variants_the_first_is_best(paths, tmp_path):
    scores(tmp_path / "results" / "classify" / "twin", [2.0, 0.0])
    for order in (["all", "twin"], ["twin", "all"]):
        _, metrics = run_in(paths, tmp_path / order[0], order)
        assert metrics["best"] == order[0]


def test_every_prediction_is_written(paths, tmp_path):
    job, _ = run_in(paths, tmp_path / "out")
    rows = json.loads((job.out / "predictions.json").read_text())
    assert len(rows) == 40
    assert rows[0]["label"] == "spam"
    assert rows[0]["predictions"] == {
        "last_layer": "spam",
        "all": "ham",
        "tfidf": "spam",
        "majority": "ham",
    }
    assert set(job.track.sent["predictions"][0]) == {"text", "label", *rows[0]["predictions"]}


def test_messages_without_words_have_a_baseline_of_characters_and_the_log_says_so(paths, tmp_path):
    folder = tmp_path / "data" / "prepare" / "classification"
    rows = [
        Message("ham", "😀👍"),
        Message("spam", "💔😡"),
        Message("ham", "🙏😀"),
        Message("spam", "👎💔"),
    ]
    for split in ("train", "validate", "test"):
        classification.write(folder / f"{split}.jsonl", rows * 3)
    for variant in VARIANTS:
        scores(tmp_path / "results" / "classify" / variant, [1.0, 0.0], n=(12, 12))
    job, metrics = run_in(paths, tmp_path / "out")
    assert metrics["baselines"]["tfidf"]["accuracy"]["value"] == 1.0
    assert metrics["baselines"]["tfidf"]["pieces"] == "characters"
    assert "tfidf: no training message has a word; it learns their characters" in job.said


def test_two_runs_write_the_same_bytes(paths, tmp_path):
    first, _ = run_in(paths, tmp_path / "1")
    second, _ = run_in(paths, tmp_path / "2")
    for name in ("metrics.json", "predictions.json"):
        assert (first.out / name).read_bytes() == (second.out / name).read_bytes()


def test_a_classifier_of_other_labels_is_refused(paths, tmp_path):
    scores(tmp_path / "results" / "classify" / "other", [0.0, 1.0], ("no", "yes"))
    with pytest.raises(UserError, match=r"knows the labels \['no', 'yes'\], the messages have"):
        run_in(paths, tmp_path / "out", ["other"])


def test_an_empty_split_is_refused(paths, tmp_path):
    (tmp_path / "data" / "prepare" / "classification" / "validate.jsonl").write_text("")
    with pytest.raises(
        UserError, match=r"validate.jsonl: no messages; change the shares in prepare"
    ):
        run_in(paths, tmp_path / "out")


def test_a_label_that_was_never_learnt_is_refused(paths, tmp_path):
    path = tmp_path / "data" / "prepare" / "classification" / "test.jsonl"
    classification.write(path, [Message("maybe", "who knows")])
    with pytest.raises(UserError, match="label 'maybe' stands in no training message"):
        run_in(paths, tmp_path / "out")


def test_tfidf_on_the_real_messages_beats_the_majority_clearly(real_data, tmp_path, paths):
    rows = classification.read_raw(real_data / "sms_spam" / "SMSSpamCollection")
    assert len(rows) == 5574
    folder = tmp_path / "data" / "prepare" / "classification"
    for split, part in {
        "train": rows[:1500],
        "validate": rows[1500:2000],
        "test": rows[2000:2500],
    }.items():
        classification.write(folder / f"{split}.jsonl", part)
    scores(tmp_path / "results" / "classify" / "all", [1.0, 0.0], n=(500, 500))
    _, metrics = run_in(paths, tmp_path / "out", ["all"])
    assert (
        metrics["baselines"]["tfidf"]["accuracy"]["low"]
        > metrics["baselines"]["majority"]["accuracy"]["high"]
    )


def test_figures_of_several_seeds_are_means_with_wider_intervals(paths, tmp_path):
    scores(tmp_path / "results" / "classify" / "several", [1.0, 0.0], seeds=(1, 2, 3))
    _, metrics = run_in(paths, tmp_path / "out", ["all", "several"])
    one, several = metrics["variants"].values()
    assert several["by_seed"] == {"1": 0.75, "2": 0.25, "3": 0.75}
    assert several["accuracy"]["value"] == several["validation_accuracy"] == pytest.approx(7 / 12)
    assert several["accuracy"]["n"] == 40
    assert several["accuracy"]["low"] < 0.4 < one["accuracy"]["low"]
    assert several["confusion"] == [[30, 0], [10, 0]]  # of the first


def test_every_two_variants_are_compared_message_by_message(paths, tmp_path):
    scores(tmp_path / "results" / "classify" / "twin", [2.0, 0.0])
    _, metrics = run_in(paths, tmp_path / "out", ["last_layer", "all", "twin"])
    pairs = {(each["first"], each["second"]): each for each in metrics["between"]}
    assert list(pairs) == [("last_layer", "all"), ("last_layer", "twin"), ("all", "twin")]
    found = pairs["last_layer", "all"]
    assert (found["only_first_right"], found["only_second_right"]) == (10, 30)
    assert found["mcnemar_p"] == pytest.approx(0.00222, abs=1e-5)
    assert pairs["all", "twin"]["mcnemar_p"] == 1.0


def test_calibration_is_measured_on_the_test_messages_and_fitted_on_the_others(paths, tmp_path):
    scores(tmp_path / "results" / "classify" / "sure", [9.0, 0.0], of_test=[2.0, 0.0])
    _, metrics = run_in(paths, tmp_path / "out", ["sure"])
    found = metrics["variants"]["sure"]["calibration"]
    assert found["expected_error"] == pytest.approx(1 / (1 + math.exp(-2)) - 0.75)
    assert found["temperature"] == pytest.approx(9 / math.log(3), rel=1e-3)  # 3 of 4 are ham
    likely = 1 / (1 + math.exp(-2 * math.log(3) / 9))
    assert found["expected_error_scaled"] == pytest.approx(0.75 - likely, abs=1e-3)


def test_a_learning_curve_is_the_test_accuracy_by_messages_learnt_from(paths, tmp_path):
    sizes = {"10": [0.0, 1.0], "20": [1.0, 0.0]}
    scores(tmp_path / "results" / "classify" / "curve", [1.0, 0.0], sizes=sizes)
    _, metrics = run_in(paths, tmp_path / "out", ["curve"])
    found = metrics["variants"]["curve"]["sizes"]
    assert {size: each["value"] for size, each in found.items()} == {"10": 0.25, "20": 0.75}


def test_further_tests_stand_beside_the_test_for_every_system(paths, tmp_path):
    folder = tmp_path / "data/prepare/classification/tests"
    folder.mkdir()
    classification.write(
        folder / "everyday.jsonl", [Message("ham", "dinner"), Message("ham", "hello")]
    )
    classification.write(folder / "unseen.jsonl", [*messages(8, 9), Message("spam", "cash")])
    sizes = {"everyday": 2, "unseen": 9}
    for variant, logits in zip(VARIANTS, ([0.0, 1.0], [1.0, 0.0]), strict=True):
        scores(tmp_path / "results/classify" / variant, logits, tests=sizes)
    job, metrics = run_in(paths, tmp_path / "out")
    found = metrics["tests"]
    assert {name: each["messages"] for name, each in found.items()} == sizes
    right = {
        name: {s: x["accuracy"]["value"] for s, x in each["systems"].items()}
        for name, each in found.items()
    }
    assert right == {
        "everyday": {"last_layer": 0, "all": 1, "tfidf": 1, "majority": 1},
        "unseen": pytest.approx({"last_layer": 3 / 9, "all": 6 / 9, "tfidf": 1, "majority": 6 / 9}),
    }
    rows = json.loads((job.out / "tests.json").read_text())
    assert rows["everyday"][0]["text"] == "dinner"
    assert rows["everyday"][0]["predictions"]["last_layer"] == "spam"
    assert metrics["test_messages"] == 40


def test_a_variant_that_was_left_out_is_left_out(paths, tmp_path):
    record.write_json(tmp_path / "results/classify/last_layer/scores.json", [])
    _, metrics = run_in(paths, tmp_path / "out")
    assert list(metrics["variants"]) == ["all"]
    assert metrics["between"] == []
