"""What is said of the changes upstream of a figure, to the letter."""

import pytest

from llmill.comparison.causes import MISSING, Between, Change, Step
from llmill.comparison.reasons import said
from llmill.comparison.revisions import Revision
from llmill.comparison.stage_runs import StageRun

SIDES = Revision("main~1", "a" * 40), Revision("main", "b" * 40)
RUN = StageRun("python -m llmill mmlu tune", {}, {}, {})
VALUES = {
    Change("parameter", "mmlu.subjects"): (["a b"], ["a b", "c"]),
    Change("parameter", "tune.steps"): (10, 20),
    Change("parameter", "tune.new"): (MISSING, "plain text"),
    Change("parameter", "tune.old"): (None, MISSING),
    Change("code", "data/code/mmlu.json"): ("1", "2"),
    Change("data", "sources.yaml"): ("1", "2"),
    Change("command", "mmlu@tune"): ("a", "b"),
    Change("input", "results/x"): ("1", MISSING),
}
SUBJECTS, STEPS, NEW, OLD, CODE, DATA, COMMAND, INPUT = VALUES
FILES = {CODE: "src/llmill/a b.py", DATA: "sources.yaml", COMMAND: "dvc.yaml", INPUT: "dvc.yaml"}
BYTES = Change("bytes", "results/a")
VALUES |= {BYTES: ("1", "2"), Change("bytes", "results/b"): ("3", "4")}
CASES = {
    "nothing": (
        [],
        "the bytes differ although nothing upstream does: the same parameters, code and data gave another "
        "result, perhaps on another machine",
    ),
    "one": ([{CODE}], "the only change upstream is the code of mmlu"),
    "bytes that nothing explains": (
        [{BYTES, Change("bytes", "results/b")}],
        "2 changes upstream (other bytes in results/a that nothing upstream explains and other bytes in "
        "results/b that nothing upstream explains), and DVC's cache has no run in between that "
        "separates them",
    ),
    "one after another": (
        [{STEPS}, {CODE}],
        "DVC's cache has the runs in between: tune.steps 10 → 20; then the code of mmlu",
    ),
    "some together": (
        [{STEPS}, {CODE, DATA, COMMAND, INPUT}],
        "DVC's cache has the runs in between: tune.steps 10 → 20; then the code of mmlu, the command of "
        "mmlu@tune and 2 more (llmill cannot separate changes within a step)",
    ),
    "a parameter of the stage itself goes first": (
        [{STEPS, SUBJECTS}],
        '2 changes upstream (mmlu.subjects ["a b"] → ["a b", "c"] and tune.steps 10 → 20), and DVC\'s '
        "cache has no run in between that separates them; at main~1, `dvc exp run --temp -S "
        "tune.steps=20 mmlu@tune judge@tune` makes one",
    ),
    "a list of words": (
        [{SUBJECTS, DATA}],
        '2 changes upstream (data sources.yaml and mmlu.subjects ["a b"] → ["a b", "c"]), and DVC\'s '
        "cache has no run in between that separates them; at main~1, `dvc exp run --temp -S "
        '\'mmlu.subjects=["a b","c"]\' mmlu@tune judge@tune` makes one',
    ),
    "a new parameter": (
        [{NEW, DATA}],
        "2 changes upstream (data sources.yaml and tune.new not there → plain text), and DVC's cache "
        "has no run in between that separates them; at main~1, `dvc exp run --temp -S '+tune.new=plain "
        "text' mmlu@tune judge@tune` makes one",
    ),
    "a parameter that went": (
        [{OLD, INPUT}],
        "2 changes upstream (the removed input results/x and tune.old null → not there), and DVC's "
        "cache has no run in between that separates them; at main~1, `dvc exp run --temp -S '~tune.old' "
        "mmlu@tune judge@tune` makes one",
    ),
    "code and data": (
        [{CODE, DATA}],
        "2 changes upstream (the code of mmlu and data sources.yaml), and DVC's cache has no run "
        "in between that separates them; at main~1, `git checkout main -- 'src/llmill/a b.py' && dvc exp "
        "run --temp mmlu@tune judge@tune` makes one",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_reason_is_one_line_that_says_no_more_than_the_runs_show(name):
    steps, line = CASES[name]
    changes = frozenset(change for step in steps for change in step)
    own = frozenset({STEPS, CODE}) & changes
    between = Between(
        "mmlu@tune", changes, own, tuple(Step(frozenset(step), RUN, RUN) for step in steps)
    )
    assert said(between, VALUES, SIDES, ["mmlu@tune", "judge@tune"], FILES) == line


def test_no_command_takes_a_file_from_the_work_tree():
    between = Between("mmlu@tune", frozenset({CODE, DATA}), frozenset({CODE}), ())
    sides = SIDES[0], Revision("workspace", None)
    line = said(between, VALUES, sides, ["mmlu@tune"], FILES)
    assert line.endswith("DVC's cache has no run in between that separates them")
