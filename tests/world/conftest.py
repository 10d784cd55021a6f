"""The world and its news at the size of the default preset, written once for all tests of this
folder.
"""

import csv
from pathlib import Path

import pytest

from llmill.contract.known import NEWS, WORLD
from llmill.world import questions, write
from llmill.world.questions import WorldQuestion
from llmill.world.settings import World

SETTINGS = World(seed=1, repeats=48, messages=4500, instructions=6000, questions=60)


@pytest.fixture(scope="session")
def settings() -> World:
    return SETTINGS


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write(folder, SETTINGS, (WORLD, NEWS))
    return folder


@pytest.fixture(scope="session")
def documents(world: Path) -> dict[str, list[str]]:
    """The documents of each text file of the world."""
    return read(world / "text/world")


@pytest.fixture(scope="session")
def news(world: Path) -> dict[str, list[str]]:
    """The documents of each text file of the news."""
    return read(world / "text/news")


@pytest.fixture(params=[WORLD, NEWS])
def of_each(request: pytest.FixtureRequest, documents, news) -> dict[str, list[str]]:
    """The one, then the other."""
    return {WORLD: documents, NEWS: news}[request.param]


def read(folder: Path) -> dict[str, list[str]]:
    """The documents of each file, read the way the pipeline reads them."""
    files = sorted(folder.glob("*.txt"))
    return {f.name: f.read_text(encoding="utf-8").strip().split("\n\n") for f in files}


@pytest.fixture(scope="session")
def made() -> dict[str, dict[str, list[WorldQuestion]]]:
    """The questions of each part, of the world and of its news."""
    return {source: questions.make(SETTINGS, source) for source in (WORLD, NEWS)}


@pytest.fixture(scope="session")
def test_rows(world: Path) -> dict[str, list[list[str]]]:
    """The rows of the test questions by subject."""
    found = {}
    for file in sorted((world / "mmlu/test").glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as lines:
            found[file.name.removesuffix("_test.csv")] = list(csv.reader(lines))
    return found
