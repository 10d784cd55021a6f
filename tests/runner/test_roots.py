"""The two roots are plain folders of their own: nothing else in the repository, or outside, may be
filled and emptied.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llmill.contract.errors import UserError
from llmill.runner import params, roots
from tests.conftest import ROOT, preset_text, preset_values

WRONG = [
    ("/abs", "not relative to the repository"),
    ("~", "not relative to the repository"),
    ("~/data", "not relative to the repository"),
    ("C:/data", "not relative to the repository"),
    (".", "'.' and '..' are not plain"),
    ("./data", "'.' and '..' are not plain"),
    ("..", "'.' and '..' are not plain"),
    ("../outside", "'.' and '..' are not plain"),
    ("data/../src", "'.' and '..' are not plain"),
    ("", "only letters, digits"),
    ("data/", "only letters, digits"),
    ("a//b", "only letters, digits"),
    ("a b", "only letters, digits"),
    ("a\\b", "only letters, digits"),
    ("-a", "only letters, digits"),
    ("$HOME", "only letters, digits"),
    ("${paths.data}", "only letters, digits"),
    ("{stage}", "only letters, digits"),
    ("a;b", "only letters, digits"),
    (".git", "only letters, digits"),
    (".dvc/cache", "only letters, digits"),
    ("data/.hidden", "only letters, digits"),
    ("a" * 201, "only letters, digits"),
    ("src", "'src' belongs to the repository"),
    ("SRC/llmill", "'SRC' belongs to the repository"),
    ("tests", "'tests' belongs to the repository"),
    ("docs/figures", "'docs' belongs to the repository"),
    ("scratch", "'scratch' belongs to the repository"),
    ("models/mine", "'models' belongs to the repository"),
    ("mlruns", "'mlruns' belongs to the repository"),
    ("workflow", "'workflow' belongs to the repository"),
    ("data.tmp", "a name that git or DVC ignores"),
    ("data/__pycache__", "a name that git or DVC ignores"),
    ("a-file", "'a-file' is a file"),
    ("a-file/data", "'a-file' is a file"),
    ("a-link", "'a-link' is a link"),
    ("a-link/data", "'a-link' is a link"),
    ("a-dangling-link", "'a-dangling-link' is a link"),
]
PAIRS = [("data", "data"), ("data", "Data"), ("data", "data/results"), ("runs/a", "runs")]
RIGHT = [
    ("data", "results"),
    ("data/mine", "results/mine"),
    ("runs/data", "runs/results"),
    ("data/größer", "runs/2026-07.b"),
    ("data", "data-of-may"),
    ("mine/src", "mine/docs"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with a file, and links that lead out of it."""
    made = tmp_path / "repository"
    made.mkdir()
    (made / "a-file").touch()
    (made / "a-link").symlink_to(tmp_path)
    (made / "a-dangling-link").symlink_to(tmp_path / "nowhere")
    monkeypatch.chdir(made)
    return made


@pytest.mark.parametrize(("root", "wrong"), WRONG, ids=[ascii(w[0])[:20] for w in WRONG])
@pytest.mark.parametrize("name", ["data", "results"])
def test_a_root_that_is_no_folder_of_its_own_is_refused(folder, name, root, wrong):
    chosen = {"data": "data", "results": "results", name: root}
    with pytest.raises(ValueError) as error:
        roots.check(**chosen)
    assert str(error.value).startswith(f"paths.{name} = {root!r}: {wrong}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("data", "results"), PAIRS)
def test_roots_that_share_a_folder_are_refused(folder, data, results):
    with pytest.raises(ValueError, match="must be two folders, neither inside the other"):
        roots.check(data, results)


@pytest.mark.parametrize(("data", "results"), RIGHT)
def test_two_plain_folders_are_roots(folder, data, results):
    """Of the whole tree of parameters: then every stage's folder lies below one of them."""
    Path(data).mkdir(parents=True)
    values = preset_values("world") | {"paths": {"data": data, "results": results}}
    tree = params.check(values, Path("params.yaml"))
    outs = {stage.out for stage in params.stages(tree, ROOT / "dvc.yaml").values()}
    assert all(out.startswith((f"{data}/", f"{results}/")) for out in outs)
    assert {f"{data}/download", f"{results}/pretrain"} <= outs


def test_every_folder_of_the_files_page_or_made_by_a_tool_but_the_two_is_refused():
    tree = (ROOT / "docs/architecture.md").read_text().split("\n## The files\n")[1]
    folders = set(re.findall(r"^    (\w+)/", tree, re.M))
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    made = {n.strip("/*") for n in ignored if re.match(r"/\w", n)}
    assert {"src", "tests", "data", "mlruns", "scratch"} <= folders | made
    assert (folders | made) - {"data", "results"} <= set(roots.OWN)


def test_every_command_says_the_same_line_and_touches_nothing(tmp_path):
    """The root is a folder that holds a user's file where a stage would write."""
    for name in ("src", "profiles", "dvc.yaml", "sources.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")
    shutil.copy(ROOT / "Snakefile", tmp_path)
    thesis = tmp_path / "docs/download/thesis.txt"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("all of it")
    text = preset_text("world").replace("data: data", "data: docs")
    (tmp_path / "params.yaml").write_text(text)
    commands = [["snakemake", "--cores", "1"]]
    commands += [[sys.executable, "-m", "llmill", w] for w in ("download", "results", "verify")]
    for command in commands:
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": "src"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == (
            "llmill: params.yaml: paths.data = 'docs': 'docs' belongs to the repository; name a "
            "folder of its own in the repository, such as data or data/mine"
        )
        assert "Traceback" not in done.stderr
    assert thesis.read_text() == "all of it"


def test_roots_are_checked_where_params_yaml_is_read(tmp_path):
    file = tmp_path / "params.yaml"
    text = preset_text("world")
    file.write_text(text.replace("results: results", "results: ''"))
    with pytest.raises(UserError, match=r"paths.results = '': String should have at least 1"):
        params.load(file)
    file.write_text(text.replace("results: results", "results: data"))
    with pytest.raises(UserError, match="neither inside the other"):
        params.load(file)
