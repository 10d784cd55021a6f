"""The table of what was too long, and of what is learnt."""

import pytest

from llmill.report import cuts, files
from tests.report import finished

PROMPTS = "test prompts that leave no room for an answer in the context: only their end is read"


def of(metrics):
    return files.Results({}, {}, {}, {}, metrics, {}, {}, [], {}, [], [])


@pytest.fixture
def results(tmp_path, monkeypatch):
    finished.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return files.read(finished.before(), finished.Job(finished.stages(), tmp_path / "o").inputs)


def test_every_count_of_a_stage_stands_beside_what_it_is_a_part_of(results):
    assert cuts.counts(results).rows == [
        ("instruct", "learnt tokens of the training instructions, as a share of all their tokens", "23.4 %", "–"),
        ("classify", "messages longer than classify.max_length: only their end is read", "7", "9,450"),
        ("instruct", "training and validation instructions longer than the context: only their end is learnt",
         "4", "5,100"),
        ("instruct", PROMPTS, "1", "300"),
        ("prefer", "pairs longer than the context: left out", "12", "1,312"),
        ("prefer", PROMPTS, "1", "300"),
        ("mmlu", "questions whose prompt does not fit into the context, cloze format: only its end is read", "0", "420"),
        ("mmlu", "questions whose prompt does not fit into the context, letter format: only its end is read", "3", "420"),
    ]  # fmt: skip


def test_the_messages_of_further_tests_count_as_well():
    splits = {name: {"rows": 100} for name in ("train", "validate", "test")}
    prepared = {"classification": {**splits, "tests": {"everyday": 40, "unseen": 10}}}
    found = of({"prepare": prepared, "classify@all": {"messages_cut": 2}})
    assert cuts.counts(found).rows == [
        ("classify", "messages longer than classify.max_length: only their end is read", "2", "350")
    ]


def test_a_count_whose_whole_is_unknown_has_a_dash_and_skipped_stages_have_no_row():
    found = of(
        {
            "prepare": {},
            "classify@last_layer": {"skipped": "variants.last_layer is false"},
            "classify@all": {"messages_cut": 2},
            "instruct": {"skipped": "download.instruction is null"},
            "prefer": {"skipped": "download.instruction is null"},
            "mmlu@pretrain": {},
        }
    )
    assert [row[::3] for row in cuts.counts(found).rows] == [("classify", "–")]
    assert cuts.counts(of({})).rows == []
