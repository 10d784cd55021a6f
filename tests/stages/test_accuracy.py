"""Stage accuracy: classifiers beside baselines on the same messages, and what it refuses."""

import json
import random
from types import SimpleNamespace

import pytest
import torch

from llmill.contract.errors import UserError
from llmill.model import checkpoint
from llmill.stages.accuracy import run
from llmill.stages.settings.accuracy import Accuracy
from llmill.tasks import classification
from llmill.tasks.classification import Message
from tests.evaluation.toys import bytes_tokenizer, headed
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


def classifier(logits, labels=("ham", "spam")):
    """It gives every message these logits."""
    model = headed(len(labels))
    with torch.no_grad():
        model.body.norm.weight.zero_()
        model.body.norm.bias.zero_()[0] = 1.0  # what the head reads of every message
        model.head.weight[:, 0] = torch.tensor(logits)
    return checkpoint.Checkpoint(model, bytes_tokenizer(), list(labels), 48)


@pytest.fixture
def paths(tmp_path):
    folder = tmp_path / "data" / "prepare" / "classification"
    folder.mkdir(parents=True)
    for seed, (split, n) in enumerate({"train": 80, "validate": 20, "test": 40}.items()):
        classification.write(folder / f"{split}.jsonl", messages(n, seed))
    for variant, logits in zip(VARIANTS, ([0.0, 1.0], [1.0, 0.0]), strict=True):
        target = tmp_path / "results" / "classify" / variant / "checkpoint"
        checkpoint.save(target, classifier(logits))
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


def test_of_equal_variants_the_first_is_best(paths, tmp_path):
    target = tmp_path / "results" / "classify" / "twin" / "checkpoint"
    checkpoint.save(target, classifier([2.0, 0.0]))
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
    target = tmp_path / "results" / "classify" / "other" / "checkpoint"
    checkpoint.save(target, classifier([0.0, 1.0], ("no", "yes")))
    with pytest.raises(UserError, match=r"knows the labels \['no', 'yes'\], the messages have"):
        run_in(paths, tmp_path / "out", ["other"])


def test_an_empty_split_is_refused(paths, tmp_path):
    (tmp_path / "data" / "prepare" / "classification" / "validate.jsonl").write_text("")
    with pytest.raises(UserError, match=r"validate.jsonl: no messages; raise prepare"):
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
    _, metrics = run_in(paths, tmp_path / "out", ["all"])
    assert (
        metrics["baselines"]["tfidf"]["accuracy"]["low"]
        > metrics["baselines"]["majority"]["accuracy"]["high"]
    )
