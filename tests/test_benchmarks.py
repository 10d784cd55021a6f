"""Every benchmark can be imported; those of a GPU, of the server and of tokenizing run in small and
say what they found.
"""

import importlib
import os
import re
import subprocess
import sys

import pytest

from llmill.tasks.instruction import Instruction
from tests.conftest import ROOT

ELSEWHERE = {"datatrove_minhash"}  # it runs in datatrove's environment
NAMES = {file.stem for file in (ROOT / "benchmarks").glob("*.py")} - ELSEWHERE


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_benchmark_fits_the_code_that_it_imports(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # as if it ran as a script
    assert importlib.import_module(f"benchmarks.{name}").__doc__


def test_the_gpu_checks_compute_on_a_cpu_what_the_cpu_computes():
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--tiny"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout
    float32 = re.findall(r"float32: loss (\S+), worst gradient (\S+)", said)
    assert len(float32) == 2
    assert all(float(error) < 1e-4 for pair in float32 for error in pair)
    bfloat16 = re.findall(r"bfloat16: loss (\S+), worst gradient (\S+)", said)
    assert len(bfloat16) == 2
    assert all(1e-8 < float(loss) < 1e-2 and float(worst) < 0.1 for loss, worst in bfloat16)
    assert "at most 0.0e+00 from the CPU's" in said
    assert "resume: same bits; 2 intervals, then 1" in said
    assert re.search(r"speed: [\d,]+ tokens/s, utilisation [\d.]+% of [\d.]+ TFLOP/s", said)
    losses = [float(loss) for loss in re.findall(r" \d: ([\d.]+)", said.partition("learn:")[2])]
    assert losses == sorted(losses, reverse=True)
    assert len(set(losses)) == 3


def test_the_server_under_load_mixes_no_answers():
    words = ["--streams", "6", "--seconds", "2", "--tokens", "24"]
    done = subprocess.run(
        [sys.executable, "benchmarks/serving.py", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "32 different answers to 32 prompts, got alone\n0 errors, 0 mixed answers\n" in done.stdout
    )
    assert re.search(r"6 streams, \d+ s: [1-9]\d* requests, [1-9]\d* tokens", done.stdout)


def test_each_task_is_asked_after_the_one_before_it_and_the_first_after_the_last():
    from benchmarks.turns import after_another

    tasks = [Instruction(name, "", f"{name}!") for name in "ab"]
    first, second = after_another(tasks)
    assert [each["content"] for each in first.asked] == ["b", "b!", "a"]
    assert [each["content"] for each in second.asked] == ["a", "a!", "b"]
    assert (first.output, second.output) == ("a!", "b!")
