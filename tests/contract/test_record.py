"""Records and writes: content hashes, whole or not at all."""

import pytest

from llmill.contract import record
from llmill.contract.errors import UserError


def test_the_hash_of_a_folder_covers_names_and_content_and_no_bytecode(tmp_path):
    folder = tmp_path / "a"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "x.txt").write_text("x")
    before = record.content_hash(folder)
    (folder / "__pycache__" / "x.pyc").write_text("anything")
    assert record.content_hash(folder) == before
    (folder / "x.txt").rename(folder / "y.txt")
    renamed = record.content_hash(folder)
    (folder / "y.txt").write_text("z")
    assert len({before, renamed, record.content_hash(folder)}) == 3


def test_the_hash_of_a_file_is_its_sha256(tmp_path):
    file = tmp_path / "abc"
    file.write_text("abc")
    assert (
        record.content_hash(file)
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_a_missing_input_is_named_with_what_to_do(tmp_path):
    with pytest.raises(UserError, match="gone: missing; `dvc pull`"):
        record.content_hash(tmp_path / "gone")


def test_a_json_of_ours_that_cannot_be_read_is_named_with_what_to_do(tmp_path):
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "deep.json").write_text("[" * 200_000 + "]" * 200_000)
    (tmp_path / "cut.json").write_text("{")
    for name, reason in (
        ("folder.json", "Is a directory"),
        ("deep.json", r"not JSON \(more than 64 objects and lists in one another\)"),
        ("cut.json", r"not JSON \(Expecting property name"),
    ):
        with pytest.raises(UserError, match=rf"{name}: {reason}.*; `dvc checkout` restores it"):
            record.read_json(tmp_path / name)


def test_a_record_names_every_other_file_of_the_folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "abc").write_text("abc")
    sha256 = record.write(tmp_path, "stage", {"a": {"b": 1}}, {"in": "00"})
    assert record.read_json(tmp_path / "record.json") == {
        "stage": "stage",
        "parameters": {"a": {"b": 1}},
        "inputs": {"in": "00"},
        "outputs": {
            "sub/abc": {
                "bytes": 3,
                "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            }
        },
    }
    assert sha256 == record.sha256_file(tmp_path / "record.json")
    assert not list(tmp_path.rglob("*.tmp"))


def test_publishing_replaces_the_old_folder_whole(tmp_path):
    final = tmp_path / "result"
    final.mkdir()
    (final / "old").write_text("old")
    (final / "record.json").write_text("{}")
    temporary = record.temporary_sibling(final)
    (temporary / "new").write_text("new")
    record.publish(temporary, final)
    assert [p.name for p in tmp_path.rglob("*")] == ["result", "new"]


def test_a_figure_that_is_not_finite_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        record.write_json(tmp_path / "metrics.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_record_is_never_replaced(tmp_path):
    foreign, made = tmp_path / "download", tmp_path / "made.tmp"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years")
    made.mkdir()
    with pytest.raises(
        UserError, match="download: llmill writes a result here, but did not create"
    ):
        record.publish(made, foreign)
    assert (foreign / "thesis.txt").read_text() == "years"
    assert made.exists()
