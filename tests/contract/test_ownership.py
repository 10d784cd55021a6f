"""Whose a folder is that has no record, in a repository of DVC."""

import subprocess
import sys
from pathlib import Path

import pytest

from llmill.contract import ownership, record
from llmill.contract.errors import UserError

DVC = """
stages:
  mill:
    cmd: mkdir -p out/deep && echo 1 > out/record.json && echo 2 > out/metrics.json && echo 3 > out/deep/x
    outs: [out]
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A stage that DVC ran."""
    root = tmp_path_factory.mktemp("mill")
    (root / "dvc.yaml").write_text(DVC)
    for words in (["init", "-q", "--no-scm"], ["repro", "-q"]):
        subprocess.run([sys.executable, "-m", "dvc", *words], cwd=root, check=True)
    return root


@pytest.fixture
def out(finished, monkeypatch) -> Path:
    """Its result, whole."""
    monkeypatch.chdir(finished)
    subprocess.run([sys.executable, "-m", "dvc", "checkout", "--quiet", "--force"], check=True)
    return Path("out")


def test_a_result_of_which_a_kill_left_only_a_part_is_llmills(out):
    (out / "record.json").unlink()
    assert ownership.refuse_foreign(out) is None
    (out / "deep/x").unlink()
    assert ownership.refuse_foreign(out) is None


def test_a_file_that_was_no_part_of_it_makes_it_somebody_elses(out):
    (out / "record.json").unlink()
    (out / "thesis.txt").write_text("years")
    with pytest.raises(
        UserError, match=r"but did not create what is there .* `dvc checkout out` makes it whole"
    ):
        ownership.refuse_foreign(out)
    (out / "thesis.txt").unlink()
    (out / "metrics.json").unlink()
    (out / "metrics.json").write_text("edited")
    with pytest.raises(UserError, match="but did not create what is there"):
        ownership.refuse_foreign(out)


@pytest.mark.parametrize("address", ["mill", "export@classify/all"])
def test_a_result_that_dvc_did_not_take_is_llmills_without_its_record(
    tmp_path, monkeypatch, address
):
    """As where DVC was killed before it took it, and Snakemake removed the record."""
    monkeypatch.chdir(tmp_path)
    out = Path("results/mill")
    out.mkdir(parents=True)
    (out / "metrics.json").write_text("2\n")
    record.write(out, "mill", {}, {})
    scratch = Path("scratch", address)
    scratch.mkdir(parents=True)
    ownership.note_published(scratch, out)
    (out / "record.json").unlink()
    assert ownership.refuse_foreign(out) is None
    (out / "metrics.json").write_text("3\n")
    with pytest.raises(UserError, match="but did not create what is there"):
        ownership.refuse_foreign(out)


def test_a_link_that_leads_nowhere_is_somebody_s(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("out").symlink_to("/nonexistent/disk")
    with pytest.raises(UserError, match="but did not create what is there"):
        ownership.refuse_foreign(Path("out"))


def test_without_a_lock_file_nothing_is_known_to_be_llmills(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    Path("out/metrics.json").write_text("2\n")
    with pytest.raises(UserError, match="but did not create what is there"):
        ownership.refuse_foreign(Path("out"))
