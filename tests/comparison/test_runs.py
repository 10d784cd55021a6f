"""Two MLflow runs beside each other: as objects, and once as MLflow itself keeps them."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from llmill.comparison import runs
from llmill.contract.errors import UserError
from llmill.runner import tracking
from llmill.runner.tracking import Kept

INPUTS = {"data/code/mmlu.json": "a" * 64, "data/prepare/mmlu": "b" * 64}


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """A folder without a database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def table(right: list[bool]) -> str:
    """Rows as MLflow's `log_table` writes them."""
    rows = [["sums", None, f"q{n}", hit] for n, hit in enumerate(right)]
    return json.dumps({"columns": ["subject", "level", "question", "cloze_right"], "data": rows})


def kept(
    folder: Path, id: str, right: list[bool], inputs: dict[str, str] = INPUTS, **parameters: str
) -> Kept:
    (folder / id).mkdir()
    (folder / id / "questions.json").write_text(table(right))
    (folder / id / "inputs.json").write_text(json.dumps(inputs))
    share = sum(right) / len(right)
    tags = {"git.commit": id * 5, "llmill.record": id, "torch": "2.13.0", "cores": "2"}
    metrics = {"cloze.all": share, "questions": float(len(right))}
    return Kept(
        id, "mmlu@instruct", "2026-11-29 01:16", parameters, metrics, tags, str(folder / id)
    )


def test_figures_of_two_variants_are_shown_though_no_parameter_differs(tmp_path):
    before = kept(tmp_path, "one", [True, False, False, False])
    after = replace(kept(tmp_path, "two", [True, True, True, False]), name="mmlu@prefer")
    found = runs.compare(before, replace(after, tags=before.tags))
    assert found.differences == []
    assert not found.is_empty


def test_parameters_figures_and_items_of_two_runs_are_compared(tmp_path):
    before = kept(
        tmp_path, "one", [True, False, False, False], **{"mmlu.shots": "0", "mmlu.seed": "1"}
    )
    after = kept(
        tmp_path, "two", [True, True, True, False], **{"mmlu.shots": "2", "mmlu.seed": "1"}
    )
    found = runs.compare(before, replace(after, tags={**after.tags, "cores": "8"}))
    told = [(d.kind, d.name, d.before, d.after) for d in found.differences]
    assert told == [("parameter", "mmlu.shots", "0", "2"), ("tag", "cores", "2", "8")]
    assert found.subjects == ("of 2026-11-29 01:16 UTC", "of 2026-11-29 01:16 UTC")
    ((row,),) = [found.headlines]
    assert (row.figure.key, row.figure.before, row.figure.after) == (
        "mmlu.instruct.cloze",
        0.25,
        0.75,
    )
    assert (row.paired.gained, row.paired.lost, row.paired.p) == (2, 0, 0.5)
    assert [r.figure.name for r in found.others["mmlu@instruct"]] == ["cloze.all"]
    assert [reason.said for reason in found.reasons] == [
        "the only change upstream is mmlu.shots 0 → 2"
    ]


def test_inputs_that_differ_are_changes_by_content(tmp_path):
    before = kept(tmp_path, "one", [True, False])
    other = {"data/code/mmlu.json": "c" * 64, "data/prepare/mmlu": "d" * 64}
    found = runs.compare(before, kept(tmp_path, "two", [True, True], other))
    told = [(d.kind, d.name, d.before, d.after) for d in found.differences]
    assert told == [
        ("code", "data/code/mmlu.json", "aaaaaaaa", "cccccccc"),
        ("data", "data/prepare/mmlu", "bbbbbbbb", "dddddddd"),
    ]
    assert found.reasons[0].said.startswith(
        "2 changes upstream, code data/code/mmlu.json, data data/prepare/mmlu: two runs alone"
    )


def test_what_cannot_be_compared_is_one_line(tmp_path):
    one = kept(tmp_path, "one", [True])
    other = replace(kept(tmp_path, "two", [True]), name="judge@instruct")
    with pytest.raises(UserError, match=r"^mmlu@instruct: both sides are the same MLflow run"):
        runs.compare(one, one)
    with pytest.raises(
        UserError, match=r"^mmlu@instruct and judge@instruct are two stages and measure different"
    ):
        runs.compare(one, other)
    with pytest.raises(UserError, match=r"^mmlu@instruct: not a git revision, a DVC experiment"):
        runs.find("mmlu@instruct")


def test_runs_are_found_by_id_or_name_with_those_that_made_their_inputs(tmp_path, monkeypatch):
    """Parameters of a run upstream count as changes, too."""
    uri = f"file://{tmp_path}/runs"  # a database of MLflow's is seconds in the making
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    tracking._mlflow.cache_clear()
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.create_experiment("world")
    ids = []
    for steps in (10, 20):
        above = client.create_run(experiment, run_name="prefer").info.run_id
        client.log_param(above, "prefer.steps", steps)
        made = client.create_run(experiment, run_name="mmlu@prefer").info.run_id
        client.set_tag(made, "llmill.parent.prefer", above)
        client.log_metric(made, "cloze.all", steps / 100)
        client.log_metric(made, "system/cpu", steps)
        client.log_dict(made, {"results/prefer/checkpoint": str(steps) * 32}, "inputs.json")
        ids.append(made)
    try:
        with pytest.raises(UserError) as raised:
            runs.find("mmlu@prefer")
        assert re.match(
            "mmlu@prefer: 2 MLflow runs have this name; use an id instead: ", str(raised.value)
        )
        assert all(id in str(raised.value) for id in ids)
        found = runs.compare(*map(runs.find, ids))
        assert [(d.kind, d.name, d.stages) for d in found.differences] == [
            ("parameter", "prefer.steps", ["prefer"])
        ]
        assert [r.figure.name for r in found.others["mmlu@prefer"]] == ["cloze.all"]
        assert found.reasons[0].said == "the only change upstream is prefer.steps 10 → 20"
    finally:
        tracking._mlflow.cache_clear()
