"""What several tests share: the presets; the real data, which is never committed; what stage `code`
writes.
"""

import atexit
import gc
import os
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llmill import presets
from llmill.contract import closure, record, yaml_file
from llmill.runner import params

ROOT = Path(__file__).parent.parent

LONG = (  # files of minutes, then of half a minute
    "test_workflow.py", "test_repro.py", "test_cluster.py",
    "test_stage.py", "test_spread.py", "test_parallel.py", "test_dry_run.py", "test_pretrain.py",
    "test_command.py", "test_benchmarks.py",
)  # fmt: skip

# Workers share the cores: a thread each in what a test itself computes, and none that spins.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

for _name in ("http_proxy", "https_proxy", "all_proxy"):  # servers of tests are on this machine
    os.environ.pop(_name, None)
    os.environ.pop(_name.upper(), None)

# The modules of all tests make a million objects that stay: seconds went into looking through them.
gc.set_threshold(50_000)
atexit.register(gc.freeze)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes go by their argument's name: what packs them may write a date, and workers must agree."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: a worker takes nothing else until its file is done."""
    order = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONG)))


def pytest_collection_finish() -> None:
    """What is there by now stays, so nobody looks through it again."""
    gc.freeze()


def copy_source(root: Path) -> None:
    """This repository's source, without what another worker's Python is just writing there."""
    ignore = shutil.ignore_patterns("*.pyc.*")
    shutil.copytree(ROOT / "src/llmill", root / "src/llmill", ignore=ignore)


@cache
def preset_text(name: str) -> str:
    """The whole parameter file of a preset."""
    return presets.text(name, ROOT / "presets")


def preset_values(name: str) -> dict[str, Any]:
    """Its values, for a test to change."""
    return yaml_file.parse(preset_text(name))


@cache
def preset(name: str) -> params.Params:
    """Its parameters, as a stage gets them."""
    return params.check(preset_values(name), Path(f"presets/{name}.yaml"))


def write_code(root: Path, stage: str) -> None:
    """What stage `code` writes about a stage of the source in a folder."""
    locked = closure.read_lock(ROOT / "requirements.lock")
    (root / "data/code").mkdir(parents=True, exist_ok=True)
    found = closure.code_of(closure.SourceTree(root / "src"), stage, locked)
    record.write_json(root / "data/code" / f"{stage}.json", found)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real files; skips where it is absent. LLMILL_DATA names another place."""
    folder = Path(os.environ.get("LLMILL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "sources.csv").exists():
        pytest.skip(
            "the real data is not here (LLMILL_DATA, or ../shared/data beside the repository)"
        )
    return folder
