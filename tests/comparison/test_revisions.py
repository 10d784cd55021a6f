"""States of a repository by name, read where the work tree holds something else."""

import pytest

from llmill.comparison import revisions
from llmill.comparison.revisions import Revision
from llmill.contract.errors import UserError
from tests.comparison.toy import Toy


@pytest.fixture
def toy(tmp_path, monkeypatch):
    made = Toy(tmp_path)
    monkeypatch.chdir(tmp_path)
    return made


def experiment(toy: Toy, base: str, name: str, message: str) -> str:
    """A ref as `dvc exp run` leaves it."""
    commit = toy.git("commit-tree", f"{base}^{{tree}}", "-p", base, "-m", message)
    toy.git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", commit)
    return commit


def test_a_commit_is_found_by_branch_tag_hash_and_distance_and_read_as_it_was(toy):
    (toy.root / "src").mkdir()
    first = toy.commit("The first", {}, requirements__lock="torch==1.0\n")
    second = toy.commit("The second", {}, requirements__lock="torch==2.0\n")
    toy.git("tag", "old", first)
    (toy.root / "requirements.lock").write_text("torch==3.0\n")
    found = [revisions.find(name) for name in ("main", "HEAD~1", "old", first[:7], "workspace")]
    assert [each.commit for each in found] == [second, first, first, first, None]
    assert [each.read("requirements.lock") for each in found] == [
        b"torch==2.0\n", *[b"torch==1.0\n"] * 3, b"torch==3.0\n"
    ]  # fmt: skip
    assert found[1].title == f"HEAD~1 ({first[:7]})"
    assert found[3].title == first[:7]
    assert found[1].subject == "The first"
    assert found[1].read("nowhere/else.yaml") is None


def test_an_experiment_has_the_name_of_its_ref_until_it_is_removed(toy):
    base = toy.commit("The base", {})
    commit = experiment(toy, base, "rates-1", "dvc: commit experiment 1234")
    found = revisions.find("rates-1")
    assert found == Revision("rates-1", commit)
    assert found.subject == f"experiment from {base[:7]}"
    toy.git("update-ref", "-d", f"refs/exps/{base[:2]}/{base[2:]}/rates-1")
    assert revisions.find("rates-1") is None
    assert revisions.find(commit) == Revision(commit, commit)  # as long as git keeps it


def test_of_experiments_with_one_name_that_of_this_commit_is_meant_or_none(toy):
    first = toy.commit("The first", {})
    one = experiment(toy, first, "rates", "one")
    second = toy.commit("The second", {})
    two = experiment(toy, second, "rates", "two")
    assert revisions.find("rates").commit == two
    toy.commit("The third", {})
    with pytest.raises(
        UserError, match="rates: several experiments have this name; use a commit:"
    ) as said:
        revisions.find("rates")
    assert one[:7] in str(said.value) and two[:7] in str(said.value)


@pytest.mark.parametrize("name", ["--all", "main:dvc.yaml", "", "no such", "HEAD~9"])
def test_what_names_no_commit_is_none(toy, name):
    toy.commit("The first", {})
    assert revisions.find(name) is None


def test_outside_of_git_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UserError, match=r"^git: not a git repository"):
        revisions.find("HEAD")


def test_the_source_of_a_commit_lies_in_a_folder_for_a_while_and_the_work_tree_stays(toy):
    (toy.root / "src/llmill").mkdir(parents=True)
    module = toy.root / "src/llmill/a.py"
    module.write_text("A = 1\n")
    toy.git("add", "src")
    commit = toy.commit("The first", {})
    module.write_text("A = 2\n")
    with Revision("HEAD", commit).source() as folder:
        assert (folder / "src/llmill/a.py").read_text() == "A = 1\n"
    assert not folder.exists()
    assert module.read_text() == "A = 2\n"
