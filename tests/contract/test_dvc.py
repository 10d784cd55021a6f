"""What DVC's own settings forbid."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from llmill.contract import dvc
from llmill.contract.errors import UserError


@pytest.mark.parametrize("where", ["config", "config.local"])
def test_a_cache_of_hard_links_is_refused_and_other_links_are_not(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    local = ["--local"] if where == "config.local" else []
    words = [sys.executable, "-m", "dvc"]
    subprocess.run([*words, "init", "-q", "--no-scm"], check=True)
    dvc.refuse_hard_links()
    subprocess.run([*words, "config", *local, "cache.type", "reflink,hardlink"], check=True)
    with pytest.raises(UserError, match=re.escape(f".dvc/{where}: cache.type has hardlink")):
        dvc.refuse_hard_links()
    if not local:
        subprocess.run([*words, "config", "--local", "cache.type", "copy"], check=True)
        dvc.refuse_hard_links()  # what is local goes before
        subprocess.run([*words, "config", "--local", "--unset", "cache.type"], check=True)
    with pytest.raises(UserError) as refusal:
        dvc.refuse_hard_links()
    (advice,) = re.findall(r"`dvc (config .*)`, then `dvc checkout --relink`$", str(refusal.value))
    subprocess.run([*words, *advice.split()], check=True)
    dvc.refuse_hard_links()


def test_without_settings_or_with_broken_ones_nothing_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dvc.refuse_hard_links() is None
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[cache\ntype hardlink")
    assert dvc.refuse_hard_links() is None


@pytest.mark.parametrize(
    ("level", "variable"),
    [("--global", "DVC_GLOBAL_CONFIG_DIR"), ("--system", "DVC_SYSTEM_CONFIG_DIR")],
)
def test_settings_outside_of_the_repository_count_and_its_own_go_before(
    tmp_path, monkeypatch, level, variable
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    Path(".dvc").mkdir()
    Path("elsewhere").mkdir()
    Path("elsewhere/config").write_text("[cache]\n    type = hardlink\n")
    with pytest.raises(UserError) as refusal:
        dvc.refuse_hard_links()
    assert str(refusal.value) == (
        f"{tmp_path}/elsewhere/config: cache.type has hardlink, with which Snakemake cannot tell "
        f"what is stale; `dvc config {level} cache.type reflink,symlink,copy`, then `dvc checkout "
        "--relink`"
    )
    Path(".dvc/config").write_text("[cache]\n    type = copy\n")
    dvc.refuse_hard_links()
