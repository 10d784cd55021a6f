import numpy as np
import pytest

from llmill.text.corpus import sorting
from llmill.text.corpus.sorting import Sorted


@pytest.mark.parametrize("memory", [1000, 4000, 1 << 23])
@pytest.mark.parametrize("greatest", [3, 2**64])
def test_rows_come_sorted_by_every_column_whatever_memory_holds(
    tmp_path, monkeypatch, memory, greatest
):
    monkeypatch.setattr(sorting, "MEMORY", memory)
    rng = np.random.default_rng(1)
    rows = rng.integers(greatest, size=(500, 2), dtype=np.uint64)
    found = Sorted(tmp_path / "rows", 2)
    for part in np.split(rows, [0, 7, 7, 200]):
        found.add(part)
    blocks = list(found)
    assert np.concatenate(blocks).tolist() == sorted(rows.tolist())
    assert max(map(len, blocks)) <= memory / 16


def test_without_rows_there_are_no_blocks(tmp_path):
    assert list(Sorted(tmp_path / "rows", 3)) == []


def test_what_another_left_in_the_file_is_not_taken_up(tmp_path, monkeypatch):
    monkeypatch.setattr(sorting, "MEMORY", 16)
    (tmp_path / "rows").write_bytes(bytes(64))
    found = Sorted(tmp_path / "rows", 1)
    found.add(np.array([[5], [4], [3]], dtype=np.uint64))
    assert np.concatenate(list(found)).tolist() == [[3], [4], [5]]
