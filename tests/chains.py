"""Clones of this repository on the smoke preset, in which real commands run."""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from filelock import FileLock

from llmill.plan.dry_run import foresee
from llmill.runner import params
from tests.conftest import ROOT, preset_text
from tests.test_main import console_script

ALL = [
    "paths", "code", "download", "prepare", "tokenizer", "tokenize", "pretrain", "classify@last_layer", "classify@last_block",
    "classify@last_two_blocks", "classify@all", "classify@lora", "classify@all_from_random",
    "instruct", "prefer", "grader", "accuracy", "mmlu@pretrain", "mmlu@instruct", "mmlu@prefer",
    "knowledge@instruct", "knowledge@prefer", "signals", "judge@pretrain", "judge@instruct", "judge@prefer",
    "contamination",
    "export@pretrain", "export@instruct", "export@prefer", "export@classify/all", "report",
]  # fmt: skip


# Variants that the smoke preset switches off, so skipped.
OFF = [
    "classify@all_from_random",
    "classify@last_block",
    "classify@last_two_blocks",
    "classify@lora",
]


UNTRACKED = {"LLMILL_TRACKING": "off"}  # where no test looks at a run: MLflow takes seconds


@dataclass
class Clone:
    """A clone of the repository with an environment of its own code."""

    root: Path

    def run(self, *words: str, check: bool = True, **extra: str) -> str:
        """A command's output, both streams; its failure is the test's."""
        done = subprocess.run(
            words,
            cwd=self.root,
            env=environment(**extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-6000:]}"
        return done.stdout

    def snakemake(self) -> str:
        return self.run("snakemake", "--cores", "2", "all", LLMILL_AUDIT="1")

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.root / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def hashes(self) -> dict[str, str]:
        """What DVC says that each stage put out."""
        lock = yaml.safe_load((self.root / "dvc.lock").read_text())["stages"]
        return {name: entry["outs"][0]["md5"] for name, entry in lock.items()}


def environment(**extra: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "LLMILL_", "DVC_"))}
    return {**kept, "PYTHONPATH": "src", "GIT_CONFIG_GLOBAL": os.devnull, **extra}


@contextlib.contextmanager
def within(made: Clone) -> Iterator[None]:
    """This process in the clone's folder, with the environment of its commands."""
    given = environment()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.root)
        for name in os.environ.keys() - given.keys():
            patch.delenv(name)
        for name, value in given.items():
            patch.setenv(name, value)
        yield


def clone(folder: Path) -> Clone:
    """The tracked files as they are in the working tree, in a repository of their own, on the smoke
    preset.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / "dvc.lock").unlink(missing_ok=True)
    (folder / "params.yaml").write_text(preset_text("smoke"))
    made = Clone(folder)
    made.run("git", "init", "-q")
    made.run("git", "add", "-A")
    made.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "clone")
    made.run("git", "config", "user.name", "t")
    made.run("git", "config", "user.email", "t@example.org")
    return made


def ran(output: str) -> list[str]:
    """The stages whose command ran."""
    return sorted(re.findall(r"Running stage '([\w@/]+)'", output))


def planned(made: Clone) -> dict[str, str]:
    """What the plan says of each stage that `dvc repro` will not leave: by this process, which is
    faster than the command and has the same code, unless a test edits the clone's.
    """
    with within(made):
        tree = params.load()
        outcomes = foresee(tree, params.stages(tree))
    return {name: each.verdict for name, each in outcomes.items() if each.verdict != "leave"}


def planned_by_its_code(made: Clone) -> dict[str, str]:
    """The same as `llmill plan` says it, by the clone's own code."""
    plan = json.loads(made.run(sys.executable, "-m", "llmill", "plan", "--json"))
    return {each["stage"]: each["verdict"] for each in plan if each["verdict"] != "leave"}


def scheduled(output: str) -> set[str]:
    """The rules that a dry run of snakemake would run."""
    return set(re.findall(r"^(?:local)?rule (\w+):", output, re.M)) - {"all"}


def clean(made: Clone) -> bool:
    """Whether `dvc status` would say: Data and pipelines are up to date."""
    with within(made), Repo() as repo:
        return bool(repo.index.stages) and repo.status() == {}


@dataclass
class Tracked:
    """An MLflow run."""

    name: str
    start: int
    end: int
    status: str
    parameters: dict[str, str]
    tags: dict[str, str]


def tracked_runs(made: Clone) -> list[Tracked]:
    """Every MLflow run, oldest first; from its file, since MLflow itself takes seconds."""
    with contextlib.closing(sqlite3.connect(made.root / "mlflow.db")) as database:

        def pairs(table: str, run: str) -> dict[str, str]:
            query = f"SELECT key, value FROM {table} WHERE run_uuid = ?"
            return dict(database.execute(query, [run]).fetchall())

        query = "SELECT name, start_time, end_time, status, run_uuid FROM runs ORDER BY start_time"
        return [
            Tracked(*columns, pairs("params", run), pairs("tags", run))
            for *columns, run in database.execute(query).fetchall()
        ]


def finished(made: Clone, stage: str) -> int:
    """How many runs of a stage ended well."""
    return sum(run.name == stage and run.status == "FINISHED" for run in tracked_runs(made))


def commands(page: str) -> list[str]:
    """The indented lines of a page of the docs."""
    return re.findall(r"^    (\S.*)$", (ROOT / "docs" / page).read_text(), re.M)


def by_snakemake(factory: pytest.TempPathFactory) -> Clone:
    """A clone, in a path with a space, in which `snakemake --cores 2 all` ran: once for all workers,
    of which one edits it, and the others look at `hashes.json` and `log` beside it.
    """
    base = factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder, hashes = shared / "chain" / "a clone", shared / "chain" / "hashes.json"
    (shared / "chain").mkdir(exist_ok=True)
    with FileLock(shared / "chain.lock"):
        if hashes.exists():
            return Clone(folder)
        made = clone(folder)
        (shared / "chain" / "log").write_text(made.snakemake())
        hashes.write_text(json.dumps(made.hashes()))
        return made


def path_with_llmill(factory: pytest.TempPathFactory) -> str:
    """A PATH with `llmill` first, as the environment of the README has it."""
    script = Path(*console_script(factory.mktemp("path")))
    return f"{script.parent}{os.pathsep}{os.environ['PATH']}"
