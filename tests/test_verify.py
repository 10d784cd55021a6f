"""`verify`: the hashes of a chain, stage by stage."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.verify import verify_stage


@pytest.mark.parametrize("path", ["/dev/zero", "../outside", "data/../../outside"])
def test_an_input_outside_the_repository_is_not_opened(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    record.write(Path("out"), "toy", {}, {path: "00"})
    with pytest.raises(UserError, match=rf"^out/record\.json: '{path}' is no file's name inside"):
        verify_stage(SimpleNamespace(address="toy", out="out"))
