"""How a command starts and ends: whose code runs, codes and words, of a process that torchrun
started, too.
"""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmill.__main__ import app
from tests.conftest import ROOT, copy_source

SCRIPT = """
import time
from llmill import __main__
from llmill.contract.errors import Stopped, UserError

class Model:
    def __del__(self):
        time.sleep(3600)  # as DDP's may, after its group has gone

def train():
    model = Model()
    print("trained")
    {end}

model = Model()
__main__.app = train
__main__.main()
"""


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("raise SystemExit(0)", 0, ""),
        ("raise SystemExit(2)", 2, ""),
        ("raise UserError('a.txt: empty')", 1, r"llmill: a\.txt: empty\n"),
        (
            "raise Stopped(15)",
            128 + 15,
            "llmill: stopped by signal 15; the same command continues from here\n",
        ),
        (
            "__import__('pathlib').Path('/dev/full').write_text('a text')",
            1,
            "llmill: the disk is full; make room there and run again\n",
        ),
        ("raise ValueError('odd')", 1, r"Traceback .*\nValueError: odd\n"),
    ],
)
def test_one_of_several_processes_ends_without_waiting_for_destructors(end, code, said):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(end=end)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "TORCHELASTIC_RUN_ID": "test"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (code, "trained\n")
    assert re.fullmatch(said, done.stderr, re.DOTALL)


def console_script(folder: Path) -> list[str]:
    """The command that pip makes of pyproject.toml's line, with an interpreter that takes llmill
    from the folder of these tests.
    """
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["llmill"]
    module, function = entry.split(":")
    script = folder / "bin" / "llmill"
    script.parent.mkdir()
    script.write_text(
        f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
    )
    script.chmod(0o755)
    return [str(script)]


@pytest.mark.parametrize("how", ["script", "module"])
def test_a_command_runs_the_code_of_the_repository_that_it_is_called_in(tmp_path, how):
    command = console_script(tmp_path) if how == "script" else [sys.executable, "-m", "llmill"]
    other = tmp_path / "another clone"
    copy_source(other)
    (other / "src/llmill/version.py").write_text('VERSION = "9.9"\n')
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for folder, version in ((tmp_path, "0.1.0"), (other, "9.9")):
        done = subprocess.run(
            [*command, "--version"], cwd=folder, env=environment,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, f"llmill {version}\n", "")


@pytest.mark.parametrize("words", [["results"], ["preset"], ["paths"]])
def test_a_folder_below_the_root_is_told_from_a_folder_without_parameters(tmp_path, words):
    root = tmp_path / "a clone"
    (root / "src/llmill").mkdir(parents=True)
    (root / "dvc.yaml").touch()
    (root / "docs").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "llmill", *words], cwd=root / "docs",
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.fullmatch(rf"llmill: .*`cd '{root}'` first\n", done.stderr)


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is not None, reason="lm_eval is installed")
def test_without_lm_eval_the_harness_says_how_to_get_it():
    said = CliRunner().invoke(app, ["harness", "instruct", "--tasks", "arc_easy"]).exception
    assert str(said) == "lm_eval is not installed; in the repository, `pip install '.[harness]'`"
