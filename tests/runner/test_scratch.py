"""The scratch folder: whose it is, what it refuses, what it says of what others left."""

from pathlib import Path

import pytest
from filelock import FileLock

from llmill.contract import parts, record
from llmill.contract.errors import UserError
from llmill.contract.pipeline import Stage
from llmill.runner import scratch

STAGE = Stage(
    "pretrain", None, "", ("data/x", "data/code/pretrain.json"), ("pretrain",), "results/pretrain"
)
PARAMETERS = {"pretrain": {"seed": 1, "processes": 2, "parallel": "ddp", "training": {"lr": 0.1}}}
INPUTS = {"data/x": "aa", "data/code/pretrain.json": "bb"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(scratch.RESUME_ANYWAY, raising=False)
    monkeypatch.delenv(scratch.DVC_RUNS, raising=False)
    write_code({"llmill.a": "bb"})


def write_code(modules: dict[str, str]) -> None:
    """As stage `code` does."""
    Path("data/code").mkdir(parents=True, exist_ok=True)
    record.write_json(Path("data/code/pretrain.json"), {"modules": modules})


def changed(**values) -> dict:
    return {"pretrain": {**PARAMETERS["pretrain"], **values}}


def claim(parameters=PARAMETERS, inputs=INPUTS, anyway=False):
    """The folder, with a state in it, and what was said."""
    said = []
    found = scratch.claim(STAGE, parameters, inputs, anyway, said.append)
    (found / scratch.STATE).mkdir(exist_ok=True)
    return found, said


def test_the_folder_is_one_for_parameters_and_data_however_the_work_is_spread():
    found, said = claim()
    assert found.parent.as_posix() == "scratch/pretrain"
    assert found == scratch.folder(STAGE, PARAMETERS, INPUTS)
    assert claim(changed(processes=1, parallel="fsdp"))[0] == found
    assert claim(changed(seed=2))[0] != found
    assert claim(inputs={**INPUTS, "data/x": "cc"})[0] != found
    assert said == []


def test_going_on_with_another_number_of_processes_is_marked_as_not_exact():
    found, _ = claim()
    assert claim(changed(processes=1))[0] == found
    assert record.read_json(found / scratch.NOT_EXACT) == ["pretrain.processes"]


def test_the_same_again_is_exact():
    found, _ = claim()
    claim()
    assert not (found / scratch.NOT_EXACT).exists()


def test_other_code_is_refused_by_name_unless_asked_for():
    found, _ = claim()
    other = {**INPUTS, "data/code/pretrain.json": "dd"}
    write_code({"llmill.a": "dd"})
    with pytest.raises(UserError, match=r"an interrupted run of other code \(llmill\.a\)"):
        claim(inputs=other)
    assert claim(inputs=other, anyway=True)[0] == found
    assert record.read_json(found / scratch.NOT_EXACT) == ["llmill.a"]


def test_a_state_that_ended_gives_way_to_other_code_and_goes_on_with_the_same():
    found, _ = claim()
    record.write_json(found / scratch.ENDED, {})
    samples = found / "samples" / "0000005.json"
    for folder in (found / scratch.STATE / "000000005", samples.parent):
        folder.mkdir()
    samples.write_text("[]")
    assert claim() == (found, [])
    assert (found / scratch.STATE / "000000005").exists()
    assert samples.exists()
    assert not (found / scratch.ENDED).exists()
    record.write_json(found / scratch.ENDED, {})
    write_code({"llmill.a": "dd"})
    assert claim() == (found, [])
    assert not (found / scratch.STATE / "000000005").exists()
    assert not samples.exists()  # the new run may stop earlier and would show them as its own
    assert not (found / scratch.NOT_EXACT).exists()


def test_a_refusal_changes_nothing():
    found, _ = claim()
    before = {path: path.read_bytes() for path in found.rglob("*") if path.is_file()}
    write_code({"llmill.a": "dd"})
    with pytest.raises(UserError, match="an interrupted run of other code"):
        claim()
    assert {path: path.read_bytes() for path in found.rglob("*") if path.is_file()} == before


def test_a_stage_may_start_while_another_asks_dvc_for_its_result(monkeypatch):
    found, _ = claim()
    record.write_json(found / scratch.ENDED, {"result": "results/pretrain", "record": "aa"})
    lock = FileLock(found.parent / "lock", timeout=0)

    def asked(*_):
        with lock:  # as the stage itself takes it
            return True

    monkeypatch.setattr(scratch.ownership, "is_in_dvc", asked)
    with lock:
        scratch.sweep()
    assert found.exists()  # the stage was at work
    scratch.sweep()
    assert not found.exists()


def test_parts_stay_until_dvc_has_the_result_that_was_made_from_them(monkeypatch):
    found, _ = claim()
    (found / scratch.STATE).rmdir()
    made = parts.Parts(found.parent / parts.FOLDER, "code").made(
        parts.Part({}, lambda folder: None)
    )
    out = Path("results/pretrain")
    out.mkdir(parents=True)
    record.write(out, "pretrain", {}, {})
    monkeypatch.setenv(scratch.DVC_RUNS, "pretrain")
    scratch.end(found, out)
    in_dvc = []
    monkeypatch.setattr(scratch.ownership, "is_in_dvc", lambda *_: in_dvc)
    scratch.sweep()
    assert made.exists()  # DVC may have failed to take the result
    again, _ = claim()
    in_dvc.append(True)
    scratch.sweep()
    assert made.exists()  # a run that began since then may use it
    (again / scratch.STATE).rmdir()
    scratch.end(again, out)
    scratch.sweep()
    assert not made.exists()


def test_without_dvc_parts_go_with_the_run():
    found, _ = claim()
    made = parts.Parts(found.parent / parts.FOLDER, "code").made(
        parts.Part({}, lambda folder: None)
    )
    out = Path("results/pretrain")
    out.mkdir(parents=True)
    record.write(out, "pretrain", {}, {})
    scratch.end(found, out)
    assert not made.exists()


def test_what_an_interrupted_run_of_other_parameters_or_data_left_is_told_and_not_used():
    first, _ = claim()
    _, said = claim(changed(seed=2, training={"lr": 0.2}), {**INPUTS, "data/x": "cc"})
    assert said == [
        f"{first}: an interrupted run with pretrain.seed 1, now 2; "
        "pretrain.training.lr 0.1, now 0.2; other data in data/x; not continued"
    ]


def test_a_finished_or_stateless_run_is_not_told_of():
    first, _ = claim()
    (first / scratch.STATE).rmdir()
    assert claim(changed(seed=2))[1] == []


def test_a_state_of_unknown_beginning_is_removed():
    found, _ = claim()
    (found / scratch.BEGUN).unlink()
    (found / scratch.STATE / "000000005").mkdir()
    again, _ = claim()
    assert again == found
    assert list((found / scratch.STATE).iterdir()) == []
