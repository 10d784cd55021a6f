"""Faults that `make mutants` puts in: each still has its place in the source, and tests to fail."""

from pathlib import Path

import pytest

from tests.mutants import MUTANTS, ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_fault_has_one_place_and_tests_that_are_there(mutant):
    assert (ROOT / "src/llmill" / mutant.file).read_text().count(mutant.before) == 1
    assert mutant.after != mutant.before
    files = [Path(name.partition("::")[0]) for name in mutant.tests.split()]
    assert files
    assert all((ROOT / "tests" / file).exists() for file in files)


def test_no_two_faults_have_one_name():
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len({*names})
