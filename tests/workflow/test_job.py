"""A job of Snakemake: DVC's lines for the log, the stage's for the person who waits."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

JOB = ROOT / "workflow/scripts/job.py"
PIPELINE = """
stages:
  toy:
    cmd: python toy.py
    deps: [toy.py]
    outs: [out]
"""
TOY = """
import pathlib, sys
print("toy: step 1/1", flush=True)
print("a library warns", file=sys.stderr)
pathlib.Path("out").write_text("{}")
"""


@pytest.fixture
def toy(tmp_path) -> Path:
    """A DVC repository of one stage."""
    for words in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(words, cwd=tmp_path, check=True)
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "toy.py").write_text(TOY.format(1))
    return tmp_path


def run(toy: Path, made: int, **extra: str) -> tuple[int, list[str]]:
    """The job's exit code and what the terminal got, its times as `_`."""
    done = subprocess.run(
        [sys.executable, JOB, "toy", str(made), "toy.log"],
        cwd=toy, env={**os.environ, **extra},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.returncode, re.sub(r"\b(\d+ min )?\d+ s\b", "_ s", done.stdout).splitlines()


def test_a_stage_finds_the_source_in_an_environment_without_it(toy):
    (toy / "toy.py").write_text("import os; open('out', 'w').write(os.environ['PYTHONPATH'])")
    assert run(toy, 0, PYTHONPATH="elsewhere")[0] == 0
    assert (toy / "out").read_text() == f"{toy / 'src'}{os.pathsep}elsewhere"


def test_in_brief_a_stage_has_a_line_as_it_starts_and_ends_and_its_own_lines(toy):
    said = ["toy: starts", "toy: step 1/1", "a library warns", "toy: done in _ s"]
    brief = {"LLMILL_BRIEF": "1"}
    assert run(toy, 0, **brief) == (0, said)
    assert "Running stage 'toy':" in (toy / "toy.log").read_text()
    assert run(toy, 1, **brief) == (0, ["toy: unchanged"])
    assert (toy / "toy.made").read_text() == "1\n"
    (toy / "toy.py").write_text(TOY.format(2))
    assert run(toy, 1, **brief) == (0, said)
    (toy / "toy.py").write_text(TOY.format(1))
    assert run(toy, 1, **brief) == (0, ["toy: restored from DVC's cache"])
    (toy / "toy.py").write_text("raise SystemExit('llmill: no such thing')")
    code, lines = run(toy, 2, **brief)
    assert code == 255
    assert lines == [
        "toy: starts",
        "llmill: no such thing",
        "ERROR: failed to reproduce 'toy': failed to run: python toy.py, exited with 1",
        "toy: no result after _ s; all that was said: toy.log",
    ]
    assert (toy / "toy.made").read_text() == "1\n"


def test_a_result_that_dvc_s_cache_did_not_take_is_no_success(toy):
    """DVC 3 says so, and ends with 0, where it may not write to its cache; root may, so this DVC only
    says it.
    """
    dvc = toy / "bin/dvc"
    dvc.parent.mkdir()
    dvc.write_text(
        "#!/bin/sh\necho \"ERROR: failed to transfer 'ab' - [Errno 13] Permission denied\"\n"
    )
    dvc.chmod(0o755)
    path = os.pathsep.join([str(dvc.parent), os.environ["PATH"]])
    advice = "llmill: DVC's cache did not take the result; mend it, then `dvc repro -f --single-item toy`"
    for brief in ({}, {"LLMILL_BRIEF": "1"}):
        code, lines = run(toy, 0, PATH=path, **brief)
        assert code == 1
        assert any("ERROR: failed to transfer" in line for line in lines)
        assert advice in lines
        assert advice in (toy / "toy.log").read_text().splitlines()
        assert not (toy / "toy.made").exists()


def test_otherwise_the_terminal_gets_all_that_the_log_gets(toy):
    code, lines = run(toy, 0)
    assert code == 0
    assert lines == (toy / "toy.log").read_text().splitlines()
    assert lines[:4] == [
        "Running stage 'toy':",
        "> python toy.py",
        "toy: step 1/1",
        "a library warns",
    ]
    assert "Use `dvc push` to send your updates to remote storage." in lines


def test_a_terminal_that_is_gone_costs_the_lines_and_not_the_job(toy):
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, JOB, "toy", "0", "toy.log"]
    done = subprocess.run(words, cwd=toy, stdout=writer, check=False)
    os.close(writer)
    assert done.returncode == 0
    assert (toy / "out").read_text() == "1"
    assert "toy: step 1/1" in (toy / "toy.log").read_text()
