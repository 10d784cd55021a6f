"""Roots that hold somebody else's files, before anything of them is replaced."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from llmill.contract.errors import UserError
from llmill.runner import params
from llmill.stages import paths as stage
from tests.conftest import ROOT, preset

TREE = preset("world")
STAGES = params.stages(TREE, ROOT / "dvc.yaml")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    return tmp_path


def run(folder: Path) -> None:
    stage.run(
        stage.Parameters(paths=TREE.paths), SimpleNamespace(stages=STAGES, out=folder / "out")
    )


def test_free_places_empty_ones_and_results_pass(folder):
    (folder / "data/download").mkdir(parents=True)
    (folder / "results/pretrain").mkdir(parents=True)
    (folder / "results/pretrain/record.json").write_text("{}")
    (folder / "results/pretrain/metrics.json").write_text("{}")
    (folder / "data/thesis.txt").write_text("years")
    run(folder)
    assert json.loads((folder / "out/roots.json").read_text()) == {
        "data": "data",
        "results": "results",
    }


@pytest.mark.parametrize("place", sorted(s.out for s in STAGES.values()))
def test_a_folder_of_somebody_else_is_refused_by_name_wherever_it_stands(folder, place):
    thesis = folder / place / "thesis.txt"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("years")
    refusal = f"{place}: llmill writes a result here, but did not create what is there"
    with pytest.raises(UserError, match=re.escape(refusal)):
        run(folder)
    assert thesis.read_text() == "years"
    assert not (folder / "out/roots.json").exists()


def test_a_file_and_a_link_to_nowhere_are_refused_too(folder):
    (folder / "results").mkdir()
    (folder / "results/report").write_text("years")
    with pytest.raises(UserError, match="results/report: llmill writes a result here"):
        run(folder)
    (folder / "results/report").unlink()
    (folder / "results/report").symlink_to("nowhere")
    with pytest.raises(UserError, match="results/report: llmill writes a result here"):
        run(folder)
