"""Stages whose data is not there: the real graph, marks in a folder."""

import json
from types import SimpleNamespace

import pytest

from llmill.contract import skipped
from llmill.contract.record import files_under
from llmill.runner import params, skipping
from tests.conftest import ROOT, preset

STAGES = params.stages(preset("smoke"), ROOT / "dvc.yaml")


def off(tree):
    return {
        stage.address: why
        for stage in STAGES.values()
        if (why := skipping.switched_off(stage, params.values(tree, stage.params)))
    }


@pytest.mark.parametrize(
    ("role", "stages"),
    [
        ("classification", "classify@last_layer classify@last_block classify@last_two_blocks classify@lora classify@all "
            "classify@all_from_random accuracy export@classify/all",
        ),
        ("instruction", "instruct prefer grader mmlu@instruct mmlu@prefer knowledge@instruct knowledge@prefer "
            "judge@pretrain judge@instruct judge@prefer export@instruct export@prefer",
        ),
        ("preference", "prefer mmlu@prefer knowledge@prefer judge@prefer export@prefer"),
        ("mmlu", "mmlu@pretrain mmlu@instruct mmlu@prefer knowledge@instruct knowledge@prefer"),
    ],
)  # fmt: skip
def test_a_null_role_skips_what_needs_it_and_nothing_else(tmp_path, monkeypatch, role, stages):
    monkeypatch.chdir(tmp_path)
    tree = preset("smoke")
    no_role = tree.download.model_copy(update={role: None})
    tree = tree.model_copy(update={"download": no_role})
    why = f"download.{role} is null"
    assert skipping.foreseen(tree, STAGES) == off(tree) | dict.fromkeys(stages.split(), why)
    skipped.write(tmp_path / "data/prepare" / role, f"download.{role} is null")
    left_out = []
    for stage in STAGES.values():
        if why := skipping.reason(stage):
            assert why == f"download.{role} is null"
            job = SimpleNamespace(
                stage=stage, stages=STAGES, out=tmp_path / stage.out, say=lambda text: None
            )
            job.out.mkdir(parents=True)
            skipping.run(why, job)
            left_out.append(stage.address)
    assert sorted(left_out) == sorted(stages.split())


def test_a_variant_that_is_switched_off_is_left_out_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert off(preset("world")) == {
        "classify@lora": "variants.lora is false",
        "classify@all_from_random": "variants.all_from_random is false",
    }
    stage = STAGES["classify@all_from_random"]
    job = SimpleNamespace(stage=stage, stages=STAGES, out=tmp_path / stage.out, say=print)
    job.out.mkdir(parents=True)
    skipping.run("variants.all_from_random is false", job)
    assert json.loads((job.out / "scores.json").read_text()) == []
    assert [s.address for s in STAGES.values() if skipping.reason(s)] == []


def test_what_others_read_of_a_skipped_stage_is_there_and_empty(tmp_path):
    said = []
    stage = STAGES["grader"]
    job = SimpleNamespace(stage=stage, stages=STAGES, out=tmp_path, say=said.append)
    skipping.run("download.instruction is null", job)
    files = {p.relative_to(tmp_path).as_posix(): p.read_text() for p in files_under(tmp_path)}
    mark = {"skipped": "download.instruction is null"}
    assert sorted(files) == [
        "checkpoint/skipped.json", "curves.csv", "heldout.json", "metrics.json", "skipped.json"
    ]  # fmt: skip
    assert files["curves.csv"] == "step,train_loss\n"  # of an empty file, DVC warns in every run
    assert json.loads(files["heldout.json"]) == []
    for name in ("checkpoint/skipped.json", "skipped.json", "metrics.json"):
        assert json.loads(files[name]) == mark
    assert said == ["skipped: download.instruction is null"]
