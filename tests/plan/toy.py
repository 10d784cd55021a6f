"""A toy repository with DVC's and llmill's own first stages and four of its own behind them, of a
fraction of a second each.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, preset_text

HEAVY = ("__pycache__", "page.css", "*.jinja", "page.html")
RUNNER = '''"""The runner without lock, tracking and scratch."""
import importlib, os, sys, time
from pathlib import Path
from types import SimpleNamespace
from llmill.contract import record
from llmill.runner import cost, params

tree = params.load()
stages = params.stages(tree)
stage = stages[sys.argv[1]]
while os.path.exists("hold"):
    Path("held").touch()
    time.sleep(0.05)
chosen = SimpleNamespace(**{name: getattr(tree, name) for name in stage.params})
job = SimpleNamespace(
    out=record.temporary_sibling(Path(stage.out)), stages=stages, say=print
)
importlib.import_module(f"llmill.stages.{stage.name}").run(chosen, job)
inputs = record.hash_inputs(stage.deps)
made = record.write(job.out, stage.address, params.values(tree, stage.params), inputs)
record.publish(job.out, Path(stage.out))
cost.write(stage.cost(Path(tree.paths.results)), made)
'''
STAGES = {
    "download": '''"""Text of a table."""
from pathlib import Path
from llmill.world import facts

def run(params, job):
    (job.out / "text").mkdir()
    (job.out / "text/cities").write_bytes(Path("src/llmill/world/tables/cities.csv").read_bytes())
    (job.out / "metrics.json").write_text("{}")
''',
    "prepare": '''"""Cuts a text."""
from pathlib import Path

def run(params, job):
    text = Path("data/download/text/cities").read_text()
    (job.out / "words").write_text(text[: params.prepare.passage_words])
    (job.out / "metrics.json").write_text("{}")
''',
    "pretrain": '''"""Imports what it does not need."""
from pathlib import Path
from llmill.toys import depth

def on_gpu():
    import torch

def run(params, job):
    words = Path("data/prepare/words").read_text()
    (job.out / "checkpoint").mkdir()
    (job.out / "checkpoint/weights").write_text(f"{words} {depth.DEPTH}")
    (job.out / "metrics.json").write_text(words)
''',
    "report": '''"""Names what the others did."""
from pathlib import Path

def run(params, job):
    (job.out / "page").write_text(params.report.title)
''',
}
DEPTH = '''"""How deep the toy is."""

DEPTH = 3
'''
DVC = """
stages:
  paths:
    cmd: python toy.py paths
    params: [paths]
    deps: [src/llmill/stages/paths.py]
    outs: ["${paths.data}/.llmill"]
  code:
    cmd: python toy.py code
    deps: ["${paths.data}/.llmill/roots.json", requirements.lock, src/llmill]
    outs: ["${paths.data}/code"]
  download:
    cmd: python toy.py download
    params: [download]
    deps: ["${paths.data}/code/download.json"]
    outs: ["${paths.data}/download"]
  prepare:
    cmd: python toy.py prepare
    params: [prepare]
    deps: ["${paths.data}/code/prepare.json", "${paths.data}/download/text"]
    outs: ["${paths.data}/prepare"]
  pretrain:
    cmd: python toy.py pretrain
    params: [runtime]
    deps: ["${paths.data}/code/pretrain.json", "${paths.data}/prepare/words"]
    outs: ["${paths.results}/pretrain"]
  report:
    cmd: python toy.py report
    params: [report]
    deps:
      - ${paths.data}/code/report.json
      - ${paths.data}/download/record.json
      - ${paths.data}/prepare/record.json
      - ${paths.data}/prepare/record.json  # twice, as a variant may name a folder of its own and of all
      - ${paths.results}/pretrain/metrics.json
    outs: ["${paths.results}/report"]
"""
ALL = ["paths", "code", "download", "prepare", "pretrain", "report"]


def write(root: Path) -> None:
    """The repository, with nothing made yet."""
    source = root / "src/llmill"
    shutil.copytree(ROOT / "src/llmill", source, ignore=shutil.ignore_patterns(*HEAVY))
    for file in (source / "stages").glob("*.py"):
        if file.stem not in ("__init__", "paths", "code"):
            file.unlink()
    for name, text in STAGES.items():
        (source / "stages" / f"{name}.py").write_text(text)
    (source / "toys").mkdir()
    (source / "toys/__init__.py").write_text('"""Toys."""\n')
    (source / "toys/depth.py").write_text(DEPTH)
    (root / "toy.py").write_text(RUNNER)
    (root / "dvc.yaml").write_text(DVC)
    shutil.copy(ROOT / ".dvcignore", root)
    (root / "params.yaml").write_text(preset_text("world"))
    shutil.copy(ROOT / "requirements.lock", root)
    dvc(root, "init", "--no-scm", "-q")
    dvc(root, "config", "core.analytics", "false")


def environment() -> dict[str, str]:
    """Of real processes; `python` is the one that runs the tests."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LLMILL_", "DVC_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**kept, "PYTHONPATH": "src", "PATH": path}


def run(root: Path, *words: str) -> subprocess.CompletedProcess:
    """A command that ends."""
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=root,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def dvc(root: Path, *words: str) -> str:
    """What a command of DVC's says."""
    done = run(root, "dvc", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def done(said: str) -> dict[str, str]:
    """What `dvc repro` did with each stage, by its own words."""
    patterns = {
        "run": r"Running stage '([\w@/]+)'",
        "restore": r"Stage '([\w@/]+)' is cached",
        "leave": r"Stage '([\w@/]+)' didn't change",
    }
    return {stage: word for word, line in patterns.items() for stage in re.findall(line, said)}
