"""torch.compile is refused where its C++ compiler would get half a path."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from llmill.contract.errors import UserError
from llmill.training import compilation
from tests.conftest import ROOT


def test_an_environment_in_a_path_with_a_space_is_named(tmp_path):
    packages = tmp_path / "an environment"
    packages.mkdir()
    (packages / "torch").symlink_to(Path(torch.__file__).parent)
    script = "from llmill.training import compilation; print(compilation.unusable())"
    path = os.pathsep.join([str(packages), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{packages}/torch/lib\n"


@pytest.mark.parametrize("variable", ["TMPDIR", "TORCHINDUCTOR_CACHE_DIR"])
@pytest.mark.parametrize("name", ["a folder", "o'clock"])
def test_a_temporary_folder_or_cache_that_cannot_be_used_is_refused(
    tmp_path, monkeypatch, variable, name
):
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.setenv(variable, str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)  # so that it is read anew
    monkeypatch.setattr(compilation, "libraries", list)
    with pytest.raises(UserError) as refused:
        compilation.check(torch.device("cpu"))
    assert str(refused.value) == (
        f"params.yaml: pretrain.compile: torch.compile cannot use {folder}, whose path has a "
        "space or a quote; set it to false, or move the environment, TMPDIR or "
        "TORCHINDUCTOR_CACHE_DIR"
    )
    compilation.check(torch.device("cuda"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system's own is another")
def test_a_machine_without_the_compiler_that_torch_takes_is_told_before_any_step(
    tmp_path, monkeypatch
):
    for name in ("clang++", "icpx"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(
        UserError, match=r"^params.yaml: pretrain.compile: .* there is no g\+\+; in"
    ):
        compilation.check(torch.device("cpu"))
    compilation.check(torch.device("cuda"))
    monkeypatch.setenv("CXX", "icpx")
    compilation.check(torch.device("cpu"))
    monkeypatch.setenv("CXX", "ccache icpx")
    with pytest.raises(UserError, match="there is no ccache icpx; install it"):
        compilation.check(torch.device("cpu"))
