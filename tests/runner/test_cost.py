"""What a stage took, written and read."""

import pytest

from llmill.contract.errors import UserError
from llmill.runner import cost


def test_what_is_written_is_read(tmp_path):
    file = tmp_path / "benchmarks/stage.tsv"
    assert cost.read(file) is None
    cost.write(file, "ab12")
    took = cost.read(file)
    assert took.seconds > 0
    assert 10 < took.memory < 100_000  # MiB
    assert took.record == "ab12"


def test_a_file_from_before_records_were_named_is_of_an_unknown_one(tmp_path):
    file = tmp_path / "stage.tsv"
    file.write_text("s\th:m:s\tmax_rss\tcpu_time\n1.5\t0:00:01\t20.0\t1.0\n")
    assert cost.read(file) == cost.Cost(1.5, 20.0, None)


@pytest.mark.parametrize(
    "text", ["", "s\tmax_rss\n", "s\th:m:s\n1\t0:00:01\n", "s\tmax_rss\nx\ty\n"]
)
def test_another_file_is_refused_by_name(tmp_path, text):
    file = tmp_path / "stage.tsv"
    file.write_text(text)
    with pytest.raises(UserError, match=r"stage\.tsv: not what a stage took"):
        cost.read(file)
