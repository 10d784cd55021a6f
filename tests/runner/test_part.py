"""`llmill part`: what no share is. What a share does: tests/stages, tests/test_workflow.py."""

import pytest

from llmill.contract.errors import UserError
from llmill.runner.part import make_parts
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("stage", "share", "said"),
    [
        ("pretrain", "1-of-2", "pretrain: the work of this stage does not fall into parts; choose prepare, "
         "tokenize"),
        ("prepare", "3-of-2", "'3-of-2' is no share of the parts; write one as 3-of-8"),
        ("prepare", "0-of-2", "'0-of-2' is no share of the parts; write one as 3-of-8"),
        ("prepare", "half", "'half' is no share of the parts; write one as 3-of-8"),
    ],
)  # fmt: skip
def test_what_is_no_share_or_has_no_parts_is_refused(stage, share, said, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError) as error:
        make_parts(stage, share)
    assert str(error.value) == said


def test_without_the_code_of_its_stage_no_part_is_made_and_one_line_says_so(tmp_path, monkeypatch):
    for name in ("params.yaml", "dvc.yaml", "requirements.lock", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"data/code/prepare\.json: missing; .* `dvc repro`"):
        make_parts("prepare", "1-of-2")
