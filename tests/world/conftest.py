"""The world at the size of the default preset, written once for all tests of this folder."""

import csv
from pathlib import Path

import pytest

from llmill.contract.schema import World
from llmill.world import write

SETTINGS = World(seed=1, repeats=90, messages=5000, instructions=2600, questions=60)


@pytest.fixture(scope="session")
def settings() -> World:
    return SETTINGS


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write(folder, SETTINGS)
    return folder


@pytest.fixture(scope="session")
def documents(world: Path) -> dict[str, list[str]]:
    """The documents of each text file, read the way the pipeline reads them."""
    files = sorted((world / "text/world").glob("*.txt"))
    return {f.name: f.read_text(encoding="utf-8").strip().split("\n\n") for f in files}


@pytest.fixture(scope="session")
def test_rows(world: Path) -> dict[str, list[list[str]]]:
    """The rows of the test questions by subject."""
    found = {}
    for file in sorted((world / "mmlu/test").glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as lines:
            found[file.name.removesuffix("_test.csv")] = list(csv.reader(lines))
    return found
