"""What stage code writes for the stages of dvc.yaml."""

import json
from types import SimpleNamespace

from llmill.runner import params
from llmill.stages import code as stage
from tests.conftest import ROOT, preset

TREE = preset("world")
STAGES = params.stages(TREE, ROOT / "dvc.yaml")


def test_a_file_for_each_stage_that_depends_on_one(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    stage.run(stage.Parameters(), SimpleNamespace(stages=STAGES, out=tmp_path))
    names = {s.name for s in STAGES.values()} - {"paths", "code"}
    assert {file.name for file in tmp_path.iterdir()} == {f"{name}.json" for name in names}
    written = json.loads((tmp_path / "tokenizer.json").read_text())
    assert "llmill.stages.tokenizer" in written["modules"]
    assert "llmill.stages.report" not in written["modules"]
