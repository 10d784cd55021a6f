import io
import shutil

import pytest
from rich.console import Console

from llmill.by_time import print_by_time
from llmill.contract import record, skipped
from llmill.contract.errors import UserError
from tests.conftest import ROOT, preset_text
from tests.report import finished


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(preset_text("world"), encoding="utf-8")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    return tmp_path


def time(repository, name: str, seconds: float, memory: float, made: str | None = None) -> None:
    """Write what a classifier's last run took; `made`: the hash of its record, else the present."""
    made = made or record.sha256_file(repository / f"results/classify/{name}/record.json")
    file = repository / f"results/benchmarks/classify-{name}.tsv"
    file.parent.mkdir(exist_ok=True)
    head = "s\th:m:s\tmax_rss\tcpu_time\trecord"
    file.write_text(f"{head}\n{seconds}\t0:00:06\t{memory}\t5.0\t{made}\n")


def test_each_classifier_stands_beside_what_it_took_and_is_drawn(repository):
    finished.write(repository)
    time(repository, "all", 41.6, 500.2)
    time(repository, "last_layer", 6.2, 450.0)
    text, figure = io.StringIO(), repository / "by_time.png"
    print_by_time(figure, Console(file=text, width=120))
    lines = [" ".join(line.replace("│", " ").split()) for line in text.getvalue().splitlines()]
    assert "all 98.4 % 97.4 to 99.1 items 1,310,976 42 500" in lines
    assert any(line.startswith("last block ") and line.endswith("196,864 – –") for line in lines)
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "not known to be timed" not in text.getvalue()


def test_what_another_result_took_is_not_put_beside_this_one(repository):
    """As where a run was timed, and DVC then restored the result of another."""
    finished.write(repository)
    time(repository, "all", 41.6, 500.2)
    time(repository, "last_layer", 300.0, 450.0, made="0" * 64)
    text = io.StringIO()
    print_by_time(repository / "by_time.png", Console(file=text, width=120))
    lines = [" ".join(line.replace("│", " ").split()) for line in text.getvalue().splitlines()]
    assert any(line.startswith("last layer ") and line.endswith(" – –") for line in lines)
    assert lines[-1] == "not known to be timed for the result that is here: last layer"


def test_a_folder_that_is_not_there_is_said_before_any_work(repository):
    with pytest.raises(UserError, match=r"away/by_time.png: cannot be written: there is no folder"):
        print_by_time(repository / "away/by_time.png")


def test_where_nothing_was_timed_one_line_says_so(repository):
    finished.write(repository)
    with pytest.raises(
        UserError,
        match=r"^results/benchmarks: no classifier has timings of the result that is here; a st",
    ):
        print_by_time(repository / "by_time.png")
    assert not (repository / "by_time.png").exists()


def test_without_classifiers_it_says_why(repository):
    skipped.write(repository / "results/accuracy", "download.classification is null")
    reason = "^accuracy: the stage was skipped: download.classification is null$"
    with pytest.raises(UserError, match=reason):
        print_by_time(repository / "by_time.png")
