"""DVC's cache, read by hash: beside DVC's own way to hash a folder."""

import hashlib
import json
from pathlib import Path

import pytest
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree

from llmill.comparison.cache import DvcCache, folder_hash, hash_inside, open_cache
from llmill.contract.errors import UserError
from tests.comparison.toy import Toy, out_of

FILES = {
    "metrics.json": "a" * 32,
    "model/b": "b" * 32,
    "model/a.bin": "c" * 32,
    "model.txt": "d" * 32,
}


def by_dvc(files: dict[str, str]) -> str:
    tree = Tree()
    for name, md5 in files.items():
        tree.add(tuple(name.split("/")), None, HashInfo("md5", md5))
    tree.digest()
    return tree.hash_info.value


def test_a_folder_and_what_is_inside_of_it_have_dvcs_hashes():
    assert folder_hash(FILES) == by_dvc(FILES)
    assert hash_inside(FILES, "model") == by_dvc({"b": "b" * 32, "a.bin": "c" * 32})
    assert hash_inside(FILES, "metrics.json") == "a" * 32
    assert hash_inside(FILES, "mod") is None


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Toy(tmp_path)


def opened(toy: Toy) -> DvcCache:
    return DvcCache(toy.cache, toy.root / ".dvc/cache/runs")


def test_what_the_cache_lost_is_read_from_the_work_tree_if_it_is_the_same_there(toy):
    md5, hashes = toy.folder({"metrics.json": {"right": 3}, "sub/words.json": ["a"]})
    folder = toy.root / "results/mmlu"
    (folder / "sub").mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"right": 3}))
    (folder / "sub/words.json").write_text(json.dumps(["a"]))
    assert opened(toy).files(md5, "nowhere") == hashes
    toy.remove(md5)
    toy.remove(hashes["metrics.json"])
    assert opened(toy).files(md5, "nowhere") is None
    assert opened(toy).files(md5, "results/mmlu") == hashes
    assert opened(toy).read(hashes["metrics.json"], "results/mmlu/metrics.json") == b'{"right": 3}'
    (folder / "metrics.json").write_text(json.dumps({"right": 4}))
    assert opened(toy).files(md5, "results/mmlu") is None
    assert opened(toy).read(hashes["metrics.json"], "results/mmlu/metrics.json") is None


def test_runs_are_found_by_their_command_and_whatever_else_lies_there_is_left(toy):
    entry = toy.chain(steps=20)["mmlu@tune"]
    toy.chain(steps=10)
    odd = toy.root / ".dvc/cache/runs/aa/b"
    odd.mkdir(parents=True)
    (odd / "c").write_text("nothing\n")
    (odd / "empty").write_text("")
    (odd / "cut").write_text("cmd: python -m llmill mmlu tune\ndeps: [")
    runs = opened(toy).runs({"python -m llmill mmlu tune"})
    assert len(runs) == 2
    assert {"results/mmlu/tune": out_of(entry)} in [run.outs for run in runs]
    assert opened(toy).runs({"python -m llmill mmlu"}) == []
    assert all(opened(toy).has(run) for run in runs)
    toy.remove(out_of(entry))
    assert sum(opened(toy).has(run) for run in runs) == 1


def test_the_cache_is_where_dvc_is_told_to_have_it(toy):
    entry = toy.chain()["mmlu@tune"]
    assert open_cache().files(out_of(entry), "nowhere") is not None
    (toy.root / ".dvc/cache").rename(toy.root / "elsewhere")
    assert open_cache().files(out_of(entry), "nowhere") is None
    (toy.root / ".dvc/config.local").write_text("[cache]\n    dir = ../elsewhere\n")
    assert open_cache().files(out_of(entry), "nowhere") is not None
    assert len(open_cache().runs({"python -m llmill mmlu tune"})) == 1


def test_without_dvc_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^DVC: you are not inside of a DVC repository"):
        open_cache()


def test_a_damaged_list_of_files_is_no_list(toy):
    content = b'{"not": "a list"}'
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir"
    place = Path(toy.cache, md5[:2], md5[2:])
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    assert opened(toy).files(md5, "nowhere") is None
