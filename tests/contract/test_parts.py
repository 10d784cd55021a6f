from pathlib import Path

import pytest

from llmill.contract.errors import UserError
from llmill.contract.parts import Part, Parts, remove


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_part_is_made_once_for_what_it_is_made_of_and_for_the_code(tmp_path):
    written = []

    def write(folder: Path) -> None:
        written.append(folder)
        (folder / "text").write_text("flour")

    of_one, of_two = Part({"file": "1"}, write), Part({"file": "2"}, write)
    store, of_other_code = Parts(tmp_path, "a"), Parts(tmp_path, "b")
    place = store.made(of_one)
    assert (place / "text").read_text() == "flour"
    assert store.made(of_one) == place
    assert len(written) == 1
    others = {store.made(of_two), of_other_code.made(of_one), place}
    assert (len(written), len(others)) == (3, 3)
    assert names(tmp_path) == sorted(path.name for path in others)


def test_nothing_is_left_of_a_part_that_failed(tmp_path):
    def write(folder: Path) -> None:
        (folder / "text").write_text("half of i")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        Parts(tmp_path, "a").made(Part({}, write))
    assert names(tmp_path) == []


def test_of_two_jobs_that_make_the_same_part_the_first_is_taken(tmp_path):
    store = Parts(tmp_path, "a")

    def slow(folder: Path) -> None:
        (folder / "text").write_text("second")
        store.made(Part({}, lambda quick: (quick / "text").write_text("first")))

    place = store.made(Part({}, slow))
    assert (place / "text").read_text() == "first"
    assert names(tmp_path) == [place.name]


def test_what_is_removed_under_a_job_is_said_in_one_line(tmp_path):
    def write(folder: Path) -> None:
        remove(tmp_path)
        (folder / "text").write_text("flour")

    with pytest.raises(UserError, match=r"somebody removed it meanwhile; the stage has ended"):
        Parts(tmp_path / "parts", "a").made(Part({}, write))
    assert names(tmp_path) == []


def test_a_removal_that_was_cut_off_leaves_no_part_that_looks_whole(tmp_path, monkeypatch):
    place = Parts(tmp_path / "parts", "a").made(
        Part({}, lambda folder: (folder / "text").write_text("flour"))
    )
    with monkeypatch.context() as cut_off:
        cut_off.setattr("shutil.rmtree", lambda *_, **__: None)
        remove(tmp_path)
    assert not place.exists()
    remove(tmp_path)
    assert names(tmp_path) == []
