"""How a command starts and ends: whose code runs, codes and words, of a process that torchrun
started, too.
"""

import contextlib
import importlib.util
import os
import pty
import re
import select
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmill.__main__ import app
from tests.conftest import ROOT, copy_source
from tests.waiting import until

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


PRINTING = """
from llmill import __main__
from llmill.runner import streams

def work():
    {stage}
    for number in range(200_000):
        print("a line", flush=True)
    open("done", "w").close()

__main__.app = work
__main__.main()
"""


@pytest.mark.parametrize(
    ("stage", "code", "done"), [("pass", 128 + 13, False), ("streams.outlive()", 0, True)]
)
def test_a_command_that_only_prints_ends_with_its_reader_and_a_stage_does_not(
    tmp_path, stage, code, done
):
    process = subprocess.Popen(
        [sys.executable, "-c", PRINTING.format(stage=stage)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"a line\n"
    process.stdout.close()
    assert process.wait(120) == code
    assert (tmp_path / "done").exists() == done


def test_output_that_is_lost_is_no_success(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PRINTING.format(stage="pass").replace("200_000", "1")],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    said = "llmill: output is lost from here on: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_a_line_typed_at_a_terminal_may_be_of_any_length(tmp_path):
    pytest.importorskip("readline")
    code = "from llmill.runner import typed\nprint(len(next(typed.lines('> '))))"
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "TERM": "dumb", "COLUMNS": "80"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    said = b""

    def read(seconds: float) -> None:
        nonlocal said
        with contextlib.suppress(OSError):  # of the terminal of a process that has ended
            while select.select([master], [], [], seconds)[0]:
                said += os.read(master, 10_000)

    until(lambda: read(0.1) or b"> " in said)
    for _ in range(50):  # a terminal holds no more than a page at once
        os.write(master, b"x" * 100)
        read(0.01)
    os.write(master, b"\n")
    until(lambda: b"5000\r\n" in said or read(0.1))
    assert process.wait(60) == 0
    os.close(master)


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


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["new-data", "x" * 300], "File name too long"),
        (["results", "--by-time", "x" * 300], "File name too long"),
    ],
)
def test_a_name_that_no_file_can_have_is_one_line(words, reason):
    done = subprocess.run(
        [sys.executable, "-m", "llmill", *words], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, f"llmill: {'x' * 300}: {reason}\n")
