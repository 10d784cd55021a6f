import json

from llmill.contract import skipped


def test_a_mark_says_why_and_nothing_else_is_one(tmp_path):
    assert skipped.reason(tmp_path) is None
    assert skipped.reason(tmp_path / "nothing") is None
    skipped.write(tmp_path / "new", "download.mmlu is null")
    assert json.loads((tmp_path / "new/skipped.json").read_text()) == {
        "skipped": "download.mmlu is null"
    }
    assert skipped.reason(tmp_path / "new") == "download.mmlu is null"
