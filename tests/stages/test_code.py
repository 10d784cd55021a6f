"""What stage code writes for the stages of dvc.yaml."""

import json
from importlib.metadata import version
from types import SimpleNamespace

from llmill.contract import closure
from llmill.runner import params
from llmill.stages import code as stage
from tests.conftest import ROOT, preset

TREE = preset("world")
STAGES = params.stages(TREE, ROOT / "dvc.yaml")


def test_a_file_for_each_stage_that_depends_on_one(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    said = []
    locked = {**closure.read_lock(), "numpy": "1.0.0"}
    monkeypatch.setattr(closure, "read_lock", lambda: locked)
    stage.run(stage.Parameters(), SimpleNamespace(stages=STAGES, out=tmp_path, say=said.append))
    told = [line for line in said if line.startswith("numpy ")]
    assert told == [
        f"numpy {version('numpy')}, locked 1.0.0: results would be recorded as of the locked "
        "version; `make setup` installs it"
    ]
    names = {s.name for s in STAGES.values()} - {"paths", "code"}
    assert {file.name for file in tmp_path.iterdir()} == {f"{name}.json" for name in names}
    written = json.loads((tmp_path / "tokenizer.json").read_text())
    assert "llmill.stages.tokenizer" in written["modules"]
    assert "llmill.stages.report" not in written["modules"]
