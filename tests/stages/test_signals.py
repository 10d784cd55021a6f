"""Stage signals on a small chain: a model of which the figures are known, and a random one."""

import json
import math
from types import SimpleNamespace

import pytest

from llmill.contract import record
from llmill.model import checkpoint
from llmill.model.checkpoint import Checkpoint
from llmill.stages.settings.signals import Signals
from llmill.stages.signals import run
from tests.evaluation.toys import bigram, bytes_tokenizer, shards_of
from tests.jobs import Job

SETTINGS = Signals(
    seed=1, threads=1, batch_size=8, documents=10, windows=5, window_tokens=6, samples=6,
    sample_tokens=20, pairs=4, confidence=0.95, bootstrap=50,
)  # fmt: skip
LEARNT = "abc " * 10  # goes on as the model does
OTHER = "cab, " * 8 + "or so"
LIKES = {"": "a", "a": "b", "b": "c", "c": " ", " ": "a"}


def chain(root, train, held_out, sources=None, epochs=2.0):
    shards_of(root / "data/tokenize/train", train)
    shards_of(root / "data/tokenize/validate", held_out, sources)
    folder = root / "results/pretrain/checkpoint"
    checkpoint.save(folder, Checkpoint(bigram(LIKES), bytes_tokenizer()))
    record.write_json(root / "results/pretrain/metrics.json", {"epochs": epochs})
    return root


def measured(root, **changes):
    job = Job(root / "out", None, root=root)
    run(SimpleNamespace(signals=SETTINGS.model_copy(update=changes)), job)
    files = ("metrics.json", "items.json")
    return (*(json.loads((job.out / file).read_text()) for file in files), job)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    root = tmp_path_factory.mktemp("chain")
    held_out = [LEARNT.strip(), "abc abc"]
    return measured(chain(root, [LEARNT, LEARNT], held_out, ["first", "second"]))


def test_bits_per_byte_are_those_of_the_model_in_all_and_by_source(found):
    bits = found[0]["bits_per_byte"]
    assert bits["all"]["value"] == pytest.approx(1.0, abs=1e-5)
    assert bits["sources"]["second"]["all"]["value"] == pytest.approx(1.0, abs=1e-5)
    assert (bits["bytes"], bits["sources"]["first"]["bytes"]) == (46, 39)
    assert bits["unigram"]["value"] == pytest.approx(math.log2(339 / 21), abs=1e-3)
    assert bits["sources"]["second"]["gzip"] > 20  # its own head


def test_last_words_are_right_by_the_model_and_by_counts(found):
    words = found[0]["last_words"]
    assert words["accuracy"] == words["near"]["accuracy"] == words["bigram"]["accuracy"]
    assert (words["accuracy"]["value"], words["accuracy"]["n"]) == (1.0, 2)
    assert words["perplexity"]["value"] == pytest.approx(16, rel=1e-4)  # a space and three letters
    assert words["unigram"]["perplexity"]["value"] > 1000


def test_a_text_that_repeats_itself_is_reproduced_whether_it_was_learnt_or_not(found):
    memorisation = found[0]["memorisation"]
    assert memorisation["training"]["whole"]["value"] == 1.0
    assert memorisation["held_out"]["tokens"]["value"] == 1.0
    assert memorisation["difference"]["tokens"]["value"] == 0.0
    assert memorisation["window_tokens"] == 6
    assert [row["of"] for row in found[1]["memorisation"]] == ["training", "training", "held_out"]


@pytest.mark.parametrize(
    ("epochs", "told"),
    [
        (0.0, "0.00 epochs of the training text were read"),
        (0.5, "0.50 epochs of the training text were read"),
        (0.99, None),  # what rows leave over
    ],
)
def test_of_text_that_was_not_read_whole_nothing_is_said_to_be_known_by_heart(
    tmp_path, epochs, told
):
    metrics, items, _ = measured(chain(tmp_path, [LEARNT], [LEARNT.strip()], epochs=epochs))
    found = metrics["memorisation"]
    assert found.get("left_out") == told
    assert ("training" in found, "difference" in found) == (told is None,) * 2
    assert len(items["memorisation"]) == (0 if told else 2)


def test_samples_stand_beside_held_out_text_of_their_lengths(found):
    metrics, items, _ = found
    samples = metrics["samples"]
    assert samples["samples"] == 6
    assert samples["written"]["tokens"] == samples["held_out"]["tokens"]
    lengths = [
        [r["tokens"] for r in items["samples"] if r["of"] == of] for of in ("written", "held_out")
    ]
    assert lengths[0] == lengths[1]
    assert samples["held_out"]["copied"]["value"] == 1.0


def test_a_minimal_pair_is_told_by_three_and_kept(found):
    metrics, items, job = found
    pairs = metrics["minimal_pairs"]
    assert {n: each["model"]["n"] for n, each in pairs["phenomena"].items()} == dict.fromkeys(
        ("agreement", "agreement_across", "number_and_noun", "article", "tense", "verb_form",
         "roles", "word_order", "reflexive"), 4,
    )  # fmt: skip
    assert pairs["seen"] == 0
    assert {*items["minimal_pairs"][0]} == {
        "phenomenon", "right", "wrong", "model", "unigram", "shorter",
    }  # fmt: skip
    assert job.said[-1] == (
        "1.000 bits per byte; 100.0% of the last words; "
        f"{pairs['model']['value']:.1%} of the minimal pairs"
    )


def test_sentences_of_the_training_text_are_asked_about_in_no_pair(tmp_path, found):
    seen = [row["right"] for row in found[1]["minimal_pairs"][:3]]
    metrics, items, _ = measured(chain(tmp_path, [" ".join(seen)], [LEARNT]))
    assert metrics["minimal_pairs"]["seen"] == 3
    assert not {row["right"] for row in items["minimal_pairs"]} & {*seen}
    # Short held-out text has windows still; the training text has one document.
    assert metrics["memorisation"]["training"]["whole"]["n"] == 1


def test_documents_too_short_for_windows_or_words_leave_no_figures_and_no_error(tmp_path):
    metrics, _, _ = measured(chain(tmp_path, ["abc"], ["abc", "a"]))
    assert metrics["memorisation"]["training"]["tokens"] is None
    assert metrics["last_words"]["perplexity"] is None
    assert metrics["last_words"]["accuracy"] == {
        "value": 0.0,
        "low": 0.0,
        "high": 1.0,
        "n": 0,
        "covers": "items",
    }


def test_a_metric_without_observations_is_a_dash_in_the_line_of_the_stage(tmp_path):
    metrics, _, job = measured(chain(tmp_path, [LEARNT], [""]))
    assert metrics["bits_per_byte"]["all"] is None
    assert job.said[-1].startswith("– bits per byte; 0.0% of the last words; ")


def test_a_copy_is_as_long_as_half_a_window_where_the_context_shortens_windows(tmp_path):
    root = chain(tmp_path, [LEARNT], [LEARNT.strip()])
    metrics, _, _ = measured(root, window_tokens=50, sample_tokens=50)
    assert metrics["memorisation"]["window_tokens"] == 32  # of a context of 64
    held_out = metrics["samples"]["held_out"]
    assert (held_out["longest_run"]["value"], held_out["copied"]["value"]) == (39, 1.0)


def test_samples_too_short_for_a_copy_are_refused():
    with pytest.raises(ValueError, match="sample_tokens must be at least window_tokens"):
        Signals(**SETTINGS.model_dump() | {"sample_tokens": 5})
