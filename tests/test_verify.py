"""`verify`: the hashes of a chain, stage by stage."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from llmill.contract import dvc, record
from llmill.contract.errors import UserError
from llmill.verify import verify_stage


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda out: (out / "b").write_text("x"), "out/b: not in the record; `dvc checkout out`"),
        (lambda out: (out / "a").unlink(), "out/a: missing; `dvc checkout out` restores it"),
        (lambda out: (out / "a").write_text("y"), "out/a: other bytes than its record says"),
    ],
)
def test_a_result_that_is_not_what_its_record_says_is_named(tmp_path, monkeypatch, change, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dvc, "accepted", lambda address: False)
    out = Path("out")
    out.mkdir()
    (out / "a").write_text("x")
    record.write(out, "toy", {}, {})
    stage = SimpleNamespace(address="toy", out="out")
    assert verify_stage(stage).accepted == []
    change(out)
    with pytest.raises(UserError, match=said):
        verify_stage(stage)


@pytest.mark.parametrize("path", ["/dev/zero", "../outside", "data/../../outside"])
def test_an_input_outside_the_repository_is_not_opened(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    record.write(Path("out"), "toy", {}, {path: "00"})
    with pytest.raises(
        UserError, match=rf"^out/record\.json: '{path}' is not the name of a file in"
    ):
        verify_stage(SimpleNamespace(address="toy", out="out"))
