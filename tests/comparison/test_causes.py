"""Which changes can have moved a stage, and the ways between through the run cache."""

import pytest

from llmill.comparison.cache import DvcCache
from llmill.comparison.causes import Chains, Change
from llmill.comparison.stage_runs import read_lock
from tests.comparison.toy import CODE, Toy, out_of

LR, STEPS, SHOTS = (Change("parameter", name) for name in ("train.lr", "tune.steps", "mmlu.shots"))
MMLU = "mmlu@tune"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Toy(tmp_path)


def chains(before, after) -> Chains:
    return Chains(read_lock({"stages": before}), read_lock({"stages": after}))


def ways(toy: Toy, found: Chains, address: str = MMLU) -> list[set[Change]]:
    """The changes of each step."""
    cache = DvcCache(toy.cache, toy.root / ".dvc/cache/runs")
    return [{*step.changes} for step in found.between(address, cache).steps]


def test_a_change_reaches_the_stages_behind_it_and_no_other(toy):
    found = chains(toy.chain(), toy.chain(steps=20))
    assert {a: found.upstream(a) for a in found.both} == {
        "code": frozenset(),
        "train": frozenset(),
        "tune": {STEPS},
        MMLU: {STEPS},
        "report": {STEPS},
    }
    assert ways(toy, found) == [{STEPS}]


def test_what_left_the_next_stage_its_input_as_it_was_moved_nothing(toy):
    """A rate of 0.001 makes the foundation that 0.002 makes."""
    found = chains(toy.chain(lr=0.001), toy.chain(lr=0.002, steps=20))
    assert found.upstream("train") == {LR}
    assert found.upstream(MMLU) == {STEPS}


def test_of_two_changes_a_run_with_one_of_them_tells_them_apart(toy):
    found = chains(toy.chain(), toy.chain(steps=20, shots=2))
    assert ways(toy, found) == [{STEPS, SHOTS}]
    toy.chain(steps=20)
    assert ways(toy, found) == [{STEPS}, {SHOTS}]


def test_a_change_far_above_is_traced_through_the_runs_of_the_stages_between(toy):
    before, after = toy.chain(lr=0.1), toy.chain(lr=0.02, steps=20, shots=2)
    toy.chain(lr=0.02)
    found = chains(before, after)
    assert found.upstream(MMLU) == {LR, STEPS, SHOTS}
    assert ways(toy, found) == [{LR}, {STEPS, SHOTS}]
    toy.chain(lr=0.02, shots=2)
    assert ways(toy, found) == [{LR}, {SHOTS}, {STEPS}]


def test_a_run_with_a_value_of_neither_side_is_not_between(toy):
    found = chains(toy.chain(), toy.chain(steps=20, shots=2))
    toy.chain(steps=20, shots=1)
    toy.chain(steps=15)
    toy.chain(lr=0.02, steps=20)
    assert ways(toy, found) == [{STEPS, SHOTS}]


def test_a_run_that_has_one_change_on_both_sides_is_no_help(toy):
    """The foundation had the seed of after, the questions that of before: no chain is like that."""
    found = chains(toy.chain(), toy.chain(seed=2, steps=20))
    assert found.upstream(MMLU) == {STEPS, Change("parameter", "runtime.seed")}
    mixed = toy.chain(seed=2)[MMLU]
    for file in (toy.root / ".dvc/cache/runs").glob("*/*/*"):
        if "mmlu tune" in file.read_text():
            file.write_text(file.read_text().replace("seed: 2", "seed: 1"))
    assert mixed["params"]["params.yaml"]["runtime"] == {"seed": 2}
    assert len(ways(toy, found)) == 1


def test_a_run_whose_files_are_gone_is_no_help(toy):
    found = chains(toy.chain(), toy.chain(steps=20, shots=2))
    between = toy.chain(steps=20)
    toy.remove(out_of(between[MMLU]))
    assert ways(toy, found) == [{STEPS, SHOTS}]


def test_an_edit_of_code_is_a_change_of_each_stage_that_it_is_in(toy):
    edited = {**CODE, "modules": {"llmill.a": "2" * 64}}
    before, after = toy.chain(), toy.chain(code=edited, steps=20)
    found = chains(before, after)
    files = [Change("code", f"data/code/{name}.json") for name in ("train", "tune", "mmlu")]
    assert found.upstream("train") == {files[0]}
    assert found.upstream("tune") == {files[1], STEPS}  # the foundation came out as it was
    assert found.upstream(MMLU) == {files[1], files[2], STEPS}
    toy.chain(code=edited)
    assert ways(toy, found, "tune") == [{files[1]}, {STEPS}]


def test_what_made_the_same_bytes_is_told_apart_from_what_did_not(toy):
    """All code was edited, and the cached run with that edit alone made every file as before."""
    edited = {**CODE, "modules": {"llmill.a": "2" * 64}}
    found = chains(toy.chain(), toy.chain(lr=0.02, code=edited))
    toy.chain(code=edited)
    assert ways(toy, found)[-1] == {LR}
    cache = DvcCache(toy.cache, toy.root / ".dvc/cache/runs")
    *_, last = found.between(MMLU, cache).steps
    assert last.before.outs == read_lock({"stages": toy.chain()})[MMLU].outs


def test_without_a_change_above_other_bytes_have_no_way(toy):
    before, after = toy.chain(), toy.chain()
    after[MMLU] = {**after[MMLU], "outs": [{"path": "results/mmlu/tune", "md5": "e" * 32 + ".dir"}]}
    assert ways(toy, chains(before, after)) == []


def test_other_bytes_of_a_stage_are_a_change_of_those_that_read_them(toy):
    """The foundation came out otherwise, of the same, so shots are not the only change."""
    before, after, other = toy.chain(), toy.chain(shots=2), toy.chain(lr=0.2, shots=2)
    after |= {a: other[a] for a in ("tune", MMLU)}
    after["train"] = {**after["train"], "outs": other["train"]["outs"]}
    found = chains(before, after)
    made = Change("bytes", "results/train/model")
    assert found.upstream("train") == frozenset()
    assert found.upstream("tune") == {made}
    assert found.upstream(MMLU) == {made, SHOTS}
    toy.chain(lr=0.2)
    assert ways(toy, found) == [{made}, {SHOTS}]


def test_a_file_that_only_one_side_reads_is_a_change_and_brings_those_above_it(toy):
    before, after = toy.chain(), toy.chain(lr=0.02)
    extra = {"path": "results/train/metrics.json", "md5": "f" * 32}
    after["report"] = {**after["report"], "deps": [*after["report"]["deps"], extra]}
    found = chains(before, after)
    assert found.upstream("report") == {Change("input", extra["path"]), LR}
