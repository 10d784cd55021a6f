"""`llmill clean`: what it calls of no use, what it keeps, and what it removes."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from filelock import FileLock, Timeout

from llmill.clean import clean_scratch
from llmill.contract import ownership, record
from llmill.runner import params, scratch
from tests.conftest import ROOT, preset_text


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A repository at the smoke preset's parameters, with what `pretrain` reads."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLMILL_MIRROR", raising=False)
    monkeypatch.setenv("LLMILL_TRACKING", "off")
    Path("params.yaml").write_text(preset_text("smoke"))
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    file = {"path": "a.txt", "bytes": 3, "sha256": NAMED, "urls": ["https://x/a.txt"]}
    unpinned = {"path": "b.txt", "bytes": None, "sha256": None, "urls": ["https://x/b.txt"]}
    source = {"title": "A", "role": "text", "format": "prose", "licence": "mine"}
    Path("sources.yaml").write_text(yaml.safe_dump({"a": source | {"files": [file, unpinned]}}))
    Path("data/code").mkdir(parents=True)
    record.write_json(Path("data/code/pretrain.json"), {"modules": {}})
    for path in pretrain().data:
        Path(path).mkdir(parents=True, exist_ok=True)
        Path(path, "a").write_text("a")


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


NAMED, UNNAMED = sha256("named"), sha256("unnamed")


def pretrain():
    return params.stages(params.load())["pretrain"]


def begun(seed=None, **data) -> Path:
    """What a run of `pretrain` with this seed, stopped in the middle, leaves: a state of 1,000 bytes."""
    stage = pretrain()
    values = params.values(params.load(), stage.params)
    if seed is not None:
        values["pretrain"]["seed"] = seed
    inputs = record.hash_inputs(stage.data) | data
    folder = scratch.claim(stage, values, inputs, False, lambda line: None)
    (folder / "state").mkdir(exist_ok=True)
    (folder / "state/weights").write_bytes(bytes(1000))
    (folder.parent / "lock").touch()
    return folder


def downloaded(name: str, size: int = 500) -> Path:
    file = scratch.ROOT / "downloads" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes(size))
    return file


def said(capsys, remove=False, downloads=False) -> str:
    clean_scratch(remove, downloads)
    return capsys.readouterr().out


def test_a_state_of_other_parameters_is_listed_with_what_differs_and_removed_only_when_asked(
    capsys,
):
    today, other = begun(), begun(seed=77)
    seed = params.load().pretrain.seed
    old = time.time() - 3 * 86_400
    for path in [other, *other.rglob("*")]:
        os.utime(path, (old, old))
    size = sum(f.stat().st_size for f in other.rglob("*") if f.is_file()) / 1000
    listed = said(capsys)
    assert f"  {other}  pretrain  {size:.1f} kB  3 d  pretrain.seed 77, now {seed}\n" in listed
    assert f"kept:\n  {today}  of today's parameters and data: " in listed
    assert listed.endswith(f"{size:.1f} kB of no use; `llmill clean --yes` removes it\n")
    assert other.exists()
    assert said(capsys, remove=True).endswith(f"removed: {size:.1f} kB\n")
    assert today.exists()
    assert not other.exists()
    assert said(capsys).endswith(
        "nothing to remove: scratch/ holds only what a run may still use\n"
    )


def test_a_state_of_other_data_is_kept_since_a_checkout_may_bring_it_back(capsys):
    state, path = begun(), pretrain().data[0]
    Path(path, "a").unlink()  # in the middle of a checkout, say
    kept = f"kept:\n  {state}  other data in {path}, which may come back"
    assert kept in said(capsys, remove=True)
    assert (state / "state/weights").exists()


def test_a_state_of_other_code_is_kept_and_said_to_be_so(capsys):
    """A run refuses it: it is not one of today's."""
    state = begun()
    record.write_json(Path("data/code/pretrain.json"), {"modules": {"llmill.model": "new"}})
    kept = f"kept:\n  {state}  other code (llmill.model), which may come back"
    assert kept in said(capsys, remove=True)
    assert (state / "state/weights").exists()


def test_a_state_of_a_training_that_was_spread_otherwise_is_kept(capsys):
    text = Path("params.yaml").read_text()
    today = begun()
    tree = yaml.safe_load(text)
    tree["pretrain"]["parallel"] = "fsdp"
    Path("params.yaml").write_text(yaml.safe_dump(tree))
    assert f"kept:\n  {today}  of today's parameters and data" in said(capsys, remove=True)


def test_a_state_whose_data_is_not_here_is_kept(capsys):
    state = begun()
    path = pretrain().data[0]
    shutil.rmtree(path)
    assert f"kept:\n  {state}  {path}: missing; " in said(capsys, remove=True)


def test_a_finished_state_goes_once_dvc_has_the_result(capsys, monkeypatch):
    state = begun()
    record.write_json(state / scratch.ENDED, {"result": "results/pretrain", "record": "aa"})
    assert f"kept:\n  {state}" in said(capsys)
    monkeypatch.setattr(ownership, "is_in_dvc", lambda folder, md5: md5 == "aa")
    assert "finished; DVC has the result" in said(capsys, remove=True)
    assert not state.exists()


def test_a_state_of_a_stage_that_is_gone_or_of_unknown_beginning_is_of_no_use(capsys):
    gone = scratch.ROOT / "distill" / ("0" * 16)
    unknown = scratch.ROOT / "instruct" / ("1" * 16)
    for state in (gone, unknown):
        (state / "state").mkdir(parents=True)
        (state.parent / "lock").touch()
    listed = said(capsys)
    assert "dvc.yaml has no such stage" in listed
    assert "its parameters are unknown" in listed
    said(capsys, remove=True)
    assert not gone.exists()
    assert not unknown.exists()


def test_a_state_of_a_variant_whose_address_has_a_slash_is_found(capsys):
    folder = scratch.ROOT / "export@classify/all"
    left = folder / ("a" * 16)
    (left / "state").mkdir(parents=True)
    (left / "state/weights").write_bytes(bytes(1000))
    (folder / "lock").touch()
    with FileLock(folder / "lock"):
        assert f"{left}  a process is running the stage" in said(capsys, remove=True)
    listed = said(capsys, remove=True)
    assert f"{left}  export@classify/all  1.0 kB" in listed
    assert "its parameters are unknown" in listed
    assert not left.exists()


def test_a_look_makes_nothing(capsys):
    begun()
    (scratch.ROOT / "prepare/parts").mkdir(parents=True)
    before = sorted(scratch.ROOT.rglob("*"))
    said(capsys)
    assert sorted(scratch.ROOT.rglob("*")) == before


def test_a_look_stops_no_stage_from_starting(capsys, monkeypatch):
    state = begun()
    lock = FileLock(state.parent / "lock", timeout=0)

    def hashed(inputs):
        with lock:
            return real(inputs)

    real = record.hash_inputs
    monkeypatch.setattr(record, "hash_inputs", hashed)
    assert "of today's parameters and data" in said(capsys)
    with pytest.raises(Timeout):
        said(capsys, remove=True)


HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_what_a_running_process_holds_stays(capsys):
    other, part = begun(seed=77), downloaded(f"{UNNAMED}.part")
    (scratch.ROOT / "download").mkdir()
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(scratch.ROOT / stage / "lock")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for stage in ("pretrain", "download")
    ]  # fmt: skip
    assert [holder.stdout.readline() for holder in holders] == ["held\n"] * 2
    listed = said(capsys, remove=True, downloads=True)
    for holder in holders:
        holder.communicate("")
    assert f"{other}  a process is running the stage" in listed
    assert "downloads  a process is running the stage: 500 bytes" in listed
    assert other.exists()
    assert part.exists()
    said(capsys, remove=True)
    assert not other.exists()
    assert not part.exists()


def test_a_removal_of_parts_that_was_cut_off_is_finished(capsys):
    gone = scratch.ROOT / "prepare/parts.gone"
    gone.mkdir(parents=True)
    assert "a removal that was cut off" in said(capsys, remove=True)
    assert not gone.exists()


def test_parts_stay_until_the_stage_has_its_result(capsys, monkeypatch):
    part = scratch.ROOT / "prepare/parts/abc"
    part.mkdir(parents=True)
    (part / "texts").write_bytes(bytes(1000))
    kept = said(capsys, remove=True)
    assert "scratch/prepare/parts  parts of a run that has not ended: 1.0 kB" in kept
    assert part.exists()
    with FileLock(scratch.ROOT / "prepare/lock"):
        assert "scratch/prepare/parts  a process is running the stage" in said(capsys, remove=True)
    Path("data/prepare").mkdir(parents=True)
    record.write_json(Path("data/prepare/record.json"), {})
    os.utime(part, (1, 1))
    with monkeypatch.context() as cut_off:
        cut_off.setattr(shutil, "rmtree", lambda *_, **__: None)
        gone = said(capsys, remove=True)
    assert "the stage has its result" in gone
    assert not part.parent.exists()  # no part that lacks files is left in its place


def test_downloads_that_the_table_names_stay_unless_asked_for(capsys):
    named = [downloaded(NAMED), downloaded(f"{sha256('https://x/b.txt')}.part")]
    downloaded(f"{NAMED}.lock", 0)
    other = [
        downloaded(f"{UNNAMED}.lock", 0), downloaded(f"{UNNAMED}.part"), downloaded("tmpx.tmp", 9),
    ]  # fmt: skip
    listed = said(capsys)
    assert f"  scratch/downloads/{UNNAMED}.part  download  500 bytes  new" in listed
    assert "no source of sources.yaml is this file" in listed
    assert "kept:\n  downloads  sources.yaml names it: 1.0 kB" in listed
    said(capsys, remove=True)
    assert all(file.exists() for file in named)
    assert not any(file.exists() for file in other)
    assert "`llmill clean --yes --downloads` removes it" in said(capsys, downloads=True)
    said(capsys, remove=True, downloads=True)
    assert not any(file.exists() for file in named)


def test_replies_of_judges_are_never_touched(capsys):
    reply = scratch.ROOT / "judge_cache" / ("a" * 16)
    reply.parent.mkdir(parents=True)
    reply.write_text("{}")
    assert (
        said(capsys, remove=True, downloads=True)
        == "nothing to remove: scratch/ holds only what a run may still use\n"
    )
    assert reply.exists()


def test_without_scratch_nothing_is_made(capsys):
    assert (
        said(capsys, remove=True)
        == "nothing to remove: scratch/ holds only what a run may still use\n"
    )
    assert not scratch.ROOT.exists()
