"""CONTRIBUTING.md names files that exist, and no more of them than a change may touch."""

import re

import pytest

from tests.conftest import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PATH = re.compile(r"`((?:[\w.]+/)*[\w.]+\.(?:py|yaml|md)|\.\w+/\w+)`")
OPEN = re.compile("NAME|STAGE|ROOM")
MOST = {
    "a parameter": 2,
    "a key of the schedule": 3,
    "an evaluation": 4,
    "a switch of the model": 5,
    "a source": 1,
    "a stage": 11,
}


def test_every_file_that_it_names_is_there():
    """NAME and the like stand for a stage, an evaluation or their tests, of which there are several."""
    paths = set(PATH.findall(TEXT)) - {"metrics.json"}
    assert len(paths) > 20
    assert [path for path in sorted(paths) if not [*ROOT.glob(OPEN.sub("*", path))]] == []


@pytest.mark.parametrize("change", MOST)
def test_a_change_touches_few_files(change):
    recipe = TEXT.partition(f"\n## Add {change}\n")[2].partition("\n## ")[0]
    steps = re.findall(r"^(\d+)\. (.*)", recipe, re.M)
    assert [int(number) for number, _ in steps] == list(range(1, len(steps) + 1))
    assert all(PATH.match(step) for _, step in steps)
    assert 0 < len(steps) <= MOST[change]
