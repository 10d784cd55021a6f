import io
import shutil

import pytest
from rich.console import Console

from llmill import results
from llmill.contract import record
from llmill.contract.errors import UserError
from tests.conftest import ROOT, preset_text
from tests.report import finished


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    preset = preset_text("world")
    (tmp_path / "params.yaml").write_text(preset, encoding="utf-8")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    return tmp_path


def printed() -> str:
    text = io.StringIO()
    results.print_table(Console(file=text, width=120))
    return text.getvalue()


def test_the_table_has_every_figure_with_interval_and_says_where_to_look(repository, monkeypatch):
    finished.write(repository)
    finished.report(repository, monkeypatch)
    lines = [" ".join(line.replace("│", " ").split()) for line in printed().splitlines()]
    assert "all questions 74.0 % 69.7 to 78.0 420 chance 25.0 %" in lines
    assert "all (best on validation) 98.4 % 97.4 to 99.1 900" in lines
    assert "instruct model 35.3 % 30.1 to 40.9 300" in lines
    assert "Intervals are over items." in lines
    assert "results/report/index.html the report, one page" in lines
    assert any(line.startswith("llmill runs ") for line in lines)
    assert any(line.startswith("dvc metrics show ") for line in lines)


def test_intervals_that_cover_different_things_have_a_column_for_it(repository):
    (repository / "results" / "report").mkdir(parents=True)
    rows = [
        {"key": c, "group": "g", "name": c, "unit": "share", "against": "",
         "figure": {**finished.share(0.5, 100), "covers": c}}
        for c in ("items", "both")
    ]  # fmt: skip
    record.write_json(repository / "results" / "report" / "summary.json", rows)
    lines = [" ".join(line.replace("│", " ").split()) for line in printed().splitlines()]
    assert "items 50.0 % 40.4 to 59.6 items 100" in lines
    assert "both 50.0 % 40.4 to 59.6 items and seeds 100" in lines


def test_names_in_brackets_are_printed_as_they_are_and_control_characters_escaped(repository):
    row = {
        "key": "k",
        "group": "[bold]g\x1b[31m",
        "name": "[x]\u202e",
        "unit": "share",
        "figure": 0.5,
        "against": "[red]\x07",
    }
    (repository / "results" / "report").mkdir(parents=True)
    record.write_json(repository / "results" / "report" / "summary.json", [row])
    for shown in (r"[bold]g\x1b[31m", r"[x]\u202e", r"[red]\x07"):
        assert shown in printed()


def test_before_the_report_has_run_one_line_says_so(repository):
    with pytest.raises(
        UserError, match=r"^results/report/summary\.json: missing; .* `dvc repro report` makes it$"
    ):
        results.print_table()


LOCK = """
stages:
  download:
    cmd: python -m llmill download
    deps: [{path: own/a.csv, md5: 5d41402abc4b2a76b9719d911017c592}]
    params: {params.yaml: {report.title: "llmill: the world"}}
    outs: []
"""


def test_metrics_of_values_and_files_that_were_edited_since_are_said_to_be_old(repository, capsys):
    (repository / "results" / "report").mkdir(parents=True)
    row = {"key": "k", "group": "g", "name": "n", "unit": "share", "figure": 0.5, "against": ""}
    record.write_json(repository / "results" / "report" / "summary.json", [row])
    (repository / "dvc.lock").write_text(LOCK)
    (repository / "own").mkdir()
    (repository / "own" / "a.csv").write_text("hello")
    printed()
    assert capsys.readouterr().err == ""
    file = repository / "params.yaml"
    file.write_text(file.read_text().replace('title: "llmill: the world"', "title: mine"))
    printed()
    assert capsys.readouterr().err == (
        "llmill: params.yaml was edited after these results; `llmill plan` shows what would run\n"
    )
    (repository / "own" / "a.csv").write_text("goodbye")
    printed()
    assert capsys.readouterr().err.startswith("llmill: params.yaml, own/a.csv were edited after")
