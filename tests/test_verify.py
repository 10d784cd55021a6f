"""`verify`: the hashes of a chain, stage by stage."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.verify import verify_stage

TOY = SimpleNamespace(address="toy", out="out")
DVC = "stages:\n  toy:\n    cmd: 'true'\n    deps: [in, input.txt]\n    outs: [out]\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda out: (out / "b").write_text("x"), "out/b: not in the record; `dvc checkout out`"),
        (lambda out: (out / "a").unlink(), "out/a: missing; `dvc checkout out` restores it"),
        (lambda out: (out / "a").write_text("y"), "out/a: other bytes than its record says"),
    ],
)
def test_a_result_that_is_not_what_its_record_says_is_named(tmp_path, monkeypatch, change, said):
    monkeypatch.chdir(tmp_path)
    out = Path("out")
    out.mkdir()
    (out / "a").write_text("x")
    record.write(out, "toy", {}, {})
    stage = SimpleNamespace(address="toy", out="out")
    assert verify_stage(stage).accepted == []
    change(out)
    with pytest.raises(UserError, match=said):
        verify_stage(stage)


def test_a_result_that_is_not_there_names_the_stage_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stage = SimpleNamespace(address="classify@all", out="out")
    reason = (
        r"^out/record\.json: missing; `dvc pull` fetches it, `dvc repro classify@all` makes it$"
    )
    with pytest.raises(UserError, match=reason):
        verify_stage(stage)


@pytest.mark.parametrize("path", ["/dev/zero", "../outside", "data/../../outside"])
def test_an_input_outside_the_repository_is_not_opened(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    record.write(Path("out"), "toy", {}, {path: "00"})
    with pytest.raises(
        UserError, match=rf"^out/record\.json: '{path}' is not the name of a file in"
    ):
        verify_stage(SimpleNamespace(address="toy", out="out"))


@pytest.fixture
def committed(tmp_path, monkeypatch) -> Path:
    """A result whose files and inputs were edited, and the edit accepted by `dvc commit`."""
    monkeypatch.chdir(tmp_path)
    for folder in ("in", "out"):
        Path(folder).mkdir()
    files = [Path("in/x"), Path("input.txt"), Path("out/a")]
    for file in files:
        file.write_text("before")
    inputs = {path: record.content_hash(Path(path)) for path in ("in", "input.txt")}
    record.write(Path("out"), "toy", {}, inputs)
    for file in files:
        file.write_text("after")
    Path("in/x.tmp").write_text("no part of it")
    Path("out/half.tmp").write_text("no part of it")
    Path(".dvcignore").write_text("*.tmp\n")
    Path("dvc.yaml").write_text(DVC)
    for words in (["init", "-q", "--no-scm"], ["commit", "-q", "-f"]):
        subprocess.run([sys.executable, "-m", "dvc", *words], check=True)
    return tmp_path


def test_what_dvc_commit_accepted_holds_and_is_named(committed):
    assert verify_stage(TOY).accepted == ["out/a", "in", "input.txt"]
    for entry in Path(".dvc/cache").rglob("*.dir"):  # as in a clone without the cache
        entry.unlink()
    assert verify_stage(TOY).accepted == ["out/a", "in", "input.txt"]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("out/a", "out/a: other bytes than its record says"),
        ("in/x", "toy: made from another in than is here"),
        ("input.txt", "toy: made from another input.txt than is here"),
    ],
)
def test_bytes_that_changed_under_the_same_size_and_time_are_found(committed, file, said):
    """As a failing disk does; `dvc status` looks at size and time."""
    stat = os.stat(file)
    with open(file, "r+b") as opened:
        opened.write(b"A")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(UserError, match=f"^{said}"):
        verify_stage(TOY)


def test_a_file_that_the_record_names_counts_though_dvc_ignores_it_and_another_does_not(committed):
    record.write(Path("out"), "toy", {}, {})  # names half.tmp
    Path("out/later.tmp").write_text("an editor's")
    assert verify_stage(TOY).accepted == []
    Path("out/half.tmp").write_text("changed")
    with pytest.raises(UserError, match=r"^out/half\.tmp: other bytes than its record says"):
        verify_stage(TOY)
