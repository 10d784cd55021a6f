"""Snakemake's rules ask for what stands in dvc.yaml and params.yaml."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.chains import ALL
from tests.conftest import ROOT

YAML_FILE = YAML()


def write(file: Path, **changes: dict) -> None:
    """The repository's file of this name with other values, by `section__key`, at their places."""
    tree = YAML_FILE.load((ROOT / file.name).read_text())
    for place, value in changes.items():
        *path, last = place.split("__")
        at = tree
        for key in path:
            at = at[key]
        at[last] = value
    YAML_FILE.dump(tree, file)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A working folder with the rules, and parameters and needs of its own."""
    for name in ("src", "own", "profiles", "sources.yaml", "requirements.lock"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")
    shutil.copy(ROOT / "Snakefile", tmp_path)
    write(
        tmp_path / "dvc.yaml",
        stages__prepare__meta={"mem_mb": 1234, "threads": 5},
        stages__pretrain__meta={"mem_mb": 2345, "gpu": 1, "priority": 7},
        stages__classify__meta={"gpu": 2},
        stages__mmlu__do__meta={"mem_mb": 4321, "threads": 8},
    )
    return tmp_path


def asked(folder: Path, device: str) -> dict[str, dict[str, str]]:
    """What the dry run says of each job, by the path of its record."""
    write(
        folder / "params.yaml",
        runtime__device=device,
        pretrain__threads=3,
        pretrain__processes=2,
        classify__threads=2,
        mmlu__threads=4,
        paths__data="data",
        paths__results="results",
    )
    done = subprocess.run(
        ["snakemake", "-n", "--forceall", "--cores", "16"],
        cwd=folder, env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    jobs = [
        dict(re.findall(r"^    (\w+): (.*)$", block, re.M))
        for block in re.split(r"^(?:local)?rule \w+:\n", done.stdout + done.stderr, flags=re.M)
    ]
    return {job["output"].split(",")[0]: job for job in jobs if "output" in job}


def test_a_job_asks_for_the_needs_of_its_stage(folder):
    jobs = asked(folder, "cuda")

    def needs(record: str) -> tuple[str, str, str | None, str | None]:
        job = jobs[record]
        amounts = dict(re.findall(r"\b(mem_mb|gpu)=(\d+)", job["resources"]))
        priority, threads = job.get("priority", "0"), job.get("threads", "1")
        return threads, priority, amounts.get("mem_mb"), amounts.get("gpu")

    assert needs("data/prepare/record.json") == ("5", "0", "1234", None)
    assert needs("results/pretrain/record.json") == ("6", "7", "2345", "2")
    assert needs("results/classify/all/record.json") == ("2", "0", None, "2")
    assert needs("results/mmlu/instruct/record.json") == ("4", "0", "4321", None)
    assert jobs["results/mmlu/instruct/record.json"]["log"].endswith("/mmlu-instruct.log")
    assert jobs["results/pretrain/record.json"]["log"] == "results/logs/snakemake/pretrain.log"

    for device in ("cpu", "auto"):  # a partition without GPUs would let the job wait for ever
        without = asked(folder, device)
        assert len(without) == len(jobs) == len(ALL)
        assert not any("gpu" in job["resources"] for job in without.values())


def test_the_report_is_declared_with_the_files_that_meta_shows(folder):
    shown = ["index.html", *(f"figures/{name}.png" for name in (
        "loss", "classification", "by_parameters", "confusion", "mmlu_levels", "mmlu_subjects",
        "task_and_knowledge", "preferences", "judge", "grader",
    ))]  # fmt: skip
    job = asked(folder, "auto")["results/report/record.json"]
    assert job["output"].split(", ")[1:] == [f"results/report/{name}" for name in shown]
