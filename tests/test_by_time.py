import io
import shutil

import pytest
from rich.console import Console

from llmill.by_time import print_by_time
from llmill.contract.errors import UserError
from tests.conftest import ROOT, preset_text
from tests.report import finished


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(preset_text("world"), encoding="utf-8")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    return tmp_path


def test_each_classifier_stands_beside_what_it_took_and_is_drawn(repository):
    finished.write(repository)
    benchmarks = repository / "results/benchmarks"
    benchmarks.mkdir()
    for name, seconds, memory in (("all", 41.6, 500.2), ("last_layer", 6.2, 450.0)):
        file = benchmarks / f"classify-{name}.tsv"
        file.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:06\t{memory}\t5.0\n")
    text, figure = io.StringIO(), repository / "by_time.png"
    print_by_time(figure, Console(file=text, width=120))
    lines = [" ".join(line.replace("│", " ").split()) for line in text.getvalue().splitlines()]
    assert "all 98.4 % 97.4 to 99.1 items 1,310,976 42 500" in lines
    assert any(line.startswith("last block ") and line.endswith("196,864 – –") for line in lines)
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_is_not_there_is_said_before_any_work(repository):
    with pytest.raises(UserError, match=r"away/by_time.png: cannot be written: there is no folder"):
        print_by_time(repository / "away/by_time.png")


def test_where_nothing_was_timed_one_line_says_so(repository):
    finished.write(repository)
    with pytest.raises(
        UserError, match=r"^results/benchmarks: no classifier has timings here; a st"
    ):
        print_by_time(repository / "by_time.png")
    assert not (repository / "by_time.png").exists()
