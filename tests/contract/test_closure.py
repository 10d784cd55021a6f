"""What the code of a stage is, on a small package and on llmill itself."""

import re
from functools import cache
from pathlib import Path

import pytest

from llmill.contract import closure, pipeline
from llmill.contract.errors import UserError
from tests.conftest import ROOT, preset

STAGE = '''"""A stage."""

import math
from typing import TYPE_CHECKING

from llmill.text import cut

if TYPE_CHECKING:
    from llmill.runner import Job

LIMIT = 3


def run(params, job: "Job"):
    """Do it."""
    # a step
    return math.floor(LIMIT) + cut.longest(f"{LIMIT} words")
'''
CUT = '''"""Cuts."""

def longest(text):
    import numpy as np

    return np.array([text])
'''
FILES = {
    "__init__.py": '"""A package."""\n',
    "runner.py": "import torch\n\nclass Job: ...\n",
    "stages/__init__.py": "",
    "stages/mill.py": STAGE,
    "text/__init__.py": '"""Texts."""\n',
    "text/cut.py": CUT,
    "text/other.py": "import pandas\n",
    "text/tables/words.csv": "a,b\n",
    "report/__init__.py": "",
    "report/page.py": "WIDTH = 1\n",
    "report/page.html": "<p>",
}
LOCKED = {"numpy": "2.4.6", "torch": "2.13.0", "pandas": "3.0.0"}


@pytest.fixture
def root(tmp_path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / "llmill" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def code(root: Path) -> closure.Code:
    return closure.code_of(closure.SourceTree(root), "mill", LOCKED)


def edited(root: Path, file: str, old: str, new: str) -> closure.Code:
    path = root / "llmill" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return code(root)


def test_it_is_the_modules_imported_the_tables_beside_them_and_the_packages_they_import(root):
    found = code(root)
    assert list(found["modules"]) == ["llmill.stages.mill", "llmill.text.cut"]
    assert list(found["tables"]) == ["llmill/text/tables/words.csv"]
    assert found["packages"] == {"numpy": "2.4.6"}


def test_a_modules_hash_is_the_same_in_every_version_of_python_and_of_llmill(root):
    """Another hash would make every stage run again. Python 3.11, 3.12 and 3.13 gave these."""
    assert code(root)["modules"] == {
        "llmill.stages.mill": "ea72bb49541a3f12c21fc27105163213786d9c9bf9a8b9a34ad7d836ee0163dd",
        "llmill.text.cut": "6851edc7cbf31d0ca694f2bccaf17fa0b58665e743311cb12cee8bb56c23964f",
    }


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("stages/mill.py", '"""Do it."""', '"""Do it well."""'),
        ("stages/mill.py", '    """Do it."""\n', ""),
        ("stages/mill.py", "    # a step\n", "\n    # two steps\n\n"),
        ("stages/mill.py", "LIMIT = 3\n", "\n\nLIMIT = (\n    3\n)\n"),
        ("stages/mill.py", 'f"{LIMIT} words"', 'f"{LIMIT}" " words"'),
        ("stages/mill.py", '"Job"', 'u"Job"'),
        ("stages/mill.py", "runner import Job", "elsewhere import Job"),
        ("runner.py", "class Job", "class Task"),
        ("text/__init__.py", "Texts", "Some texts"),
        ("text/other.py", "pandas", "nothing"),
        ("report/page.html", "<p>", "<br>"),
    ],
)
def test_what_changes_no_behaviour_of_the_stage_changes_nothing(root, file, old, new):
    before = code(root)
    assert edited(root, file, old, new) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("stages/mill.py", "LIMIT = 3", "LIMIT = 4"),
        ("stages/mill.py", "LIMIT = 3", "LIMIT = 3.0"),
        ("stages/mill.py", "} words", "} word"),
        ("stages/mill.py", "math.floor", "math.ceil"),
        ("text/cut.py", "[text]", "[text, text]"),
        ("text/tables/words.csv", "a,b", "a,c"),
        ("text/cut.py", "import numpy as np", "import numpy as np, pandas"),
    ],
)
def test_what_may_change_the_stage_does(root, file, old, new):
    before = code(root)
    assert edited(root, file, old, new) != before


def test_what_an_editor_leaves_beside_a_module_is_no_table(root):
    before = code(root)
    for name in (
        ".cut.py.swp", "cut.py~", ".DS_Store", "cut.py.orig", "words.tmp", "#cut.py#", "cut.py.bak", "cut.pyc",
    ):  # fmt: skip
        (root / "llmill/text" / name).write_text("left")
    assert code(root) == before


def test_a_new_version_counts_only_where_the_package_is_imported(root):
    source = closure.SourceTree(root)
    before = closure.code_of(source, "mill", LOCKED)
    assert closure.code_of(source, "mill", {**LOCKED, "torch": "3.0.0"}) == before
    assert closure.code_of(source, "mill", {**LOCKED, "numpy": "3.0.0"}) != before


def test_a_package_that_nothing_locks_and_a_broken_module_are_one_line(root):
    with pytest.raises(
        UserError, match=r"cut\.py: imports numpy, which requirements\.lock does not"
    ):
        closure.code_of(closure.SourceTree(root), "mill", {})
    (root / "llmill/text/cut.py").write_text("def broken(\n")
    with pytest.raises(UserError, match=r"cut\.py, line 1: '\(' was never closed"):
        code(root)
    (root / "llmill/text/cut.py").write_text("import re\nfrom . import words\n")
    with pytest.raises(UserError, match=r"cut\.py, line 2: a relative import; name the module in"):
        code(root)
    (root / "llmill/text/cut.py").write_bytes(b"x = '\0'\n")
    with pytest.raises(UserError, match=r"cut\.py.*null bytes"):
        code(root)


STAGES = pipeline.load({"paths": preset("world").paths.model_dump()}, ROOT / "dvc.yaml")
LOCK = closure.read_lock(ROOT / "requirements.lock")


@cache
def source() -> closure.SourceTree:
    """The real one; to read it takes a second."""
    return closure.SourceTree(ROOT / "src")


@pytest.mark.parametrize("stage", sorted({s.name for s in STAGES.values()} - {"code", "report"}))
def test_what_runs_the_stages_is_in_no_stages_code(stage):
    found = closure.code_of(source(), stage, LOCK)
    above = ("llmill.runner.", "llmill.contract.closure", "llmill.contract.pipeline")
    assert not [name for name in found["modules"] if name.startswith(above)]
    assert "mlflow" not in found["packages"]


def test_trainings_follow_torch_and_the_world_its_tables():
    assert closure.code_of(source(), "pretrain", LOCK)["packages"]["torch"] == LOCK["torch"]
    download = closure.code_of(source(), "download", LOCK)
    assert "llmill/world/tables/countries.csv" in download["tables"]
    assert "torch" not in download["packages"]


def test_what_a_judge_is_asked_is_code_of_its_stage_and_of_no_training():
    names = ("pair-1", "pair-without-reference-1", "score-1", "score-2")
    prompts = {f"llmill/evaluation/judging/prompts/{name}.txt" for name in names}
    assert prompts <= closure.code_of(source(), "judge", LOCK)["tables"].keys()
    for stage in ("pretrain", "instruct", "mmlu", "grader"):
        assert not prompts & closure.code_of(source(), stage, LOCK)["tables"].keys()


def test_how_messages_are_divided_and_which_endings_texts_have_redoes_no_classifier():
    rules = {"llmill.tasks.division", "llmill.tasks.split", "llmill.text.files.endings"}
    assert rules <= closure.code_of(source(), "prepare", LOCK)["modules"].keys()
    for stage in ("classify", "accuracy"):
        assert not rules & closure.code_of(source(), stage, LOCK)["modules"].keys()


@pytest.mark.parametrize("stage", sorted({s.name for s in STAGES.values()} - {"report"}))
def test_an_edit_of_the_report_s_page_reruns_no_other_stage(stage):
    templates = {"llmill/report/page.html.jinja", "llmill/report/page.css"}
    assert templates <= closure.code_of(source(), "report", LOCK)["tables"].keys()
    assert not templates & closure.code_of(source(), stage, LOCK)["tables"].keys()


def test_every_stage_depends_on_the_code_that_stage_code_writes_for_it_and_on_no_source():
    for stage in STAGES.values():
        if stage.name in ("paths", "code"):  # before it
            continue
        assert stage.code == (f"data/code/{stage.name}.json",)
        assert not [dep for dep in stage.deps if re.match("src/", dep)]
