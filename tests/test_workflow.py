"""Snakemake, DVC and MLflow together, for real: a clone in which `snakemake` made the chain of the smoke
preset, then edits of every kind. What `dvc repro` makes of another clone: test_repro.py.
"""

import itertools
import re
import shlex
import shutil
import sys
import zipfile

import pytest
from typer.testing import CliRunner

from llmill.__main__ import app
from tests.chains import (
    ALL,
    OFF,
    UNTRACKED,
    Clone,
    by_snakemake,
    clean,
    commands,
    finished,
    path_with_llmill,
    planned,
    planned_by_its_code,
    ran,
    scheduled,
    tracked_runs,
    within,
)  # fmt: skip
from tests.conftest import ROOT
from tests.waiting import until


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Clone:
    """The clone in which `snakemake` ran."""
    return by_snakemake(tmp_path_factory)


def test_snakemake_on_a_fresh_clone_runs_every_stage_and_leaves_dvc_clean(first):
    assert ran((first.root.parent / "log").read_text()) == sorted(ALL)
    assert clean(first)
    assert first.run("git", "status", "--porcelain") == "?? dvc.lock\n"


def test_every_stage_has_one_finished_run_and_independent_stages_run_side_by_side(first):
    found = sorted(tracked_runs(first), key=lambda run: run.name)
    assert [(run.name, run.status) for run in found] == [
        (name, "FINISHED") for name in sorted({*ALL} - {*OFF})
    ]
    assert all({"git.commit", "llmill.record"} <= run.tags.keys() for run in found)
    by_start = sorted(found, key=lambda run: run.start)
    assert any(later.start < run.end for run, later in itertools.pairwise(by_start))


def test_verify_names_every_run_or_says_that_the_server_is_away(first):
    out = first.run(sys.executable, "-m", "llmill", "verify")
    assert "every link holds" in out
    assert out.count("not here") == len(OFF)
    away = "http://127.0.0.1:9"
    out = first.run(sys.executable, "-m", "llmill", "verify", MLFLOW_TRACKING_URI=away)
    assert "llmill: MLflow's runs cannot be read: " in out
    assert out.count("not here") == len(ALL)


def test_snakemake_again_has_nothing_to_do(first):
    assert "Nothing to be done" in first.snakemake()
    assert clean(first)


def test_the_same_edit_by_make_run_which_says_a_line_as_a_stage_starts_and_ends_and_back(first):
    first.edit("params.yaml", "  examples: 2", "  examples: 1")
    told = first.run("make", "-o", ".venv/ready", "run", LLMILL_AUDIT="1", **UNTRACKED)
    stages = [line for line in told.splitlines() if re.match(r"[\w@/]+: ", line)]
    assert [re.sub(r" in .* s$", " in _ s", line) for line in stages] == [
        "report: starts",
        "report: 10 figures on results/report/index.html",
        "report: done in _ s",
    ]
    assert not re.search("Running stage|input:|dvc push|jobs?id", told)
    assert "perplexity" in told  # the table at the end
    first.edit("params.yaml", "  examples: 1", "  examples: 2")
    back = first.snakemake()
    assert ran(back) == []
    assert "Stage 'report' is cached - skipping run, checking out outputs" in back
    assert clean(first)


COURSE = list(dict.fromkeys(commands("course.md")))
OURS = re.compile(r'(?:echo "([^"$`\\]+)" \| )?llmill ([^|<>;&$`*]+)')
OTHERS = [command for command in COURSE if not OURS.fullmatch(command)]
TYPED = [next(each for each in COURSE if each.startswith(word)) for word in ("echo", "llmill")]


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    return path_with_llmill(tmp_path_factory)


@pytest.mark.parametrize("command", COURSE)
def test_a_command_of_the_course_runs_on_the_finished_chain(first, path, command):
    """By a shell, or in this process, which has torch already: its import takes seconds."""
    if command in OTHERS + TYPED:
        said = first.run("sh", "-ec", command, PATH=path)
    else:
        piped, words = OURS.fullmatch(command).groups()
        given = f"{piped}\n" if piped else None
        with within(first):
            done = CliRunner().invoke(app, shlex.split(words), given, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        said = done.output
    assert said  # of a model that says nothing, a line end


def test_the_course_shows_each_of_its_steps_by_a_command():
    steps = re.split(r"^## ", (ROOT / "docs/course.md").read_text(), flags=re.M)[1:]
    without = [step.splitlines()[0] for step in steps if not re.search(r"^    \S", step, re.M)]
    assert (len(steps), without) == (12, [])


WORDS = [
    ("src/llmill/runner/stage.py", '"""Run one stage', '"""Run a stage'),
    ("src/llmill/training/meters.py", "import ", "# a comment\nimport "),
    ("src/llmill/model/classifiers.py", "\n\n\n", "\n\n\n\n"),
]
LINTER = ("requirements.lock", "snakefmt==", "snakefmt==9")


NEW = [  # a parameter of the report, and its code
    ("params.yaml", "\n  examples: 2", "\n  note: new\n  examples: 2"),
    (
        "src/llmill/stages/settings/report.py",
        "    examples: Few",
        "    note: Title\n    examples: Few",
    ),
    ("src/llmill/stages/report.py", "figures on {", "pictures on {"),
]


def test_words_of_the_source_redo_nothing_and_a_linter_or_a_parameter_of_the_report_the_report(
    first,
):
    """Planned after each, made by `dvc repro` after all, and taken back by snakemake."""
    made, redone = first.hashes(), ["code", "report"]
    texts = {file: (first.root / file).read_text() for file, _, _ in (*WORDS, LINTER, *NEW)}
    for edit in WORDS:
        first.edit(*edit)
    assert planned_by_its_code(first) == {"code": "run"}
    assert scheduled(first.run("snakemake", "-n")) == {"code"}
    for edits in ([LINTER], NEW):  # the report lists the locked versions
        for edit in edits:
            first.edit(*edit)
        assert planned_by_its_code(first) == dict.fromkeys(redone, "run")
        assert scheduled(first.run("snakemake", "-n")) == {*redone}
    assert ran(first.run("dvc", "repro", **UNTRACKED)) == redone
    assert clean(first)
    for file, text in texts.items():
        (first.root / file).write_text(text)
    back = first.snakemake()
    assert (scheduled(back), ran(back)) == ({*redone}, [])
    assert "Stage 'report' is cached - skipping run, checking out outputs" in back
    assert first.hashes() == made
    assert clean(first)
    assert "Nothing to be done" in first.run("snakemake", "-n")


RULES = {address.partition("@")[0] for address in ALL}
MUCH = {
    "table of the world": ("src/llmill/world/tables/countries.csv", "Paris", "Pariss", {"paths"}),
    "version of torch": (
        "requirements.lock", "torch==", "torch==9",
        {"paths", "download", "prepare", "tokenizer", "tokenize"},
    ),
    "seed": ("params.yaml", "    seed: 1\n    repeats", "    seed: 2\n    repeats", {"paths", "code"}),
}  # fmt: skip


@pytest.mark.parametrize("name", MUCH)
def test_what_would_redo_much_is_planned_as_snakemake_would_do_it(first, name):
    file, before, after, left = MUCH[name]
    text = (first.root / file).read_text()
    first.edit(file, before, after)
    try:
        plan = (planned_by_its_code if file.startswith("src/") else planned)(first)
        assert scheduled(first.run("snakemake", "-n")) == RULES - left
        assert {address.partition("@")[0] for address in plan} == RULES - left
    finally:
        (first.root / file).write_text(text)


def test_another_preset_or_branch_is_planned_as_snakemake_would_do_it_and_back_is_nothing(first):
    params = (first.root / "params.yaml").read_text()
    lock = (first.root / "dvc.lock").read_bytes()
    first.run(sys.executable, "-m", "llmill", "preset", "masked", "--force")
    both = RULES - {"paths", "code"}
    assert scheduled(first.run("snakemake", "-n")) == both
    assert {address.partition("@")[0] for address in planned(first)} == both
    (first.root / "params.yaml").write_text(params)
    first.run("git", "checkout", "-q", "-b", "other")
    first.edit("params.yaml", "  examples: 2", "  examples: 1")
    first.run("git", "commit", "-qam", "other")
    assert planned(first).keys() == scheduled(first.run("snakemake", "-n")) == {"report"}
    first.run("git", "checkout", "-q", "-")
    assert (first.root / "params.yaml").read_text() == params
    (first.root / "dvc.lock").write_bytes(lock)
    assert scheduled(first.run("snakemake", "-n")) == set(planned(first)) == set()


def test_an_accepted_edit_changes_nothing_for_snakemake_and_is_told_apart_by_verify(first):
    module = first.root / "src/llmill/report/style.py"
    text = module.read_text()
    module.write_text(text + "\nACCEPTED = True\n")
    broken = first.run(sys.executable, "-m", "llmill", "verify", check=False)
    assert "llmill: code: made from another src/llmill than is here" in broken
    first.run("dvc", "commit", "-f", "-q")
    assert ran(first.snakemake()) == []
    assert "Nothing to be done" in first.run("snakemake", "-n")
    assert clean(first)
    out = first.run(sys.executable, "-m", "llmill", "verify")
    assert "code: another src/llmill than its record names, accepted by `dvc commit`" in out
    module.write_text(text)
    assert ran(first.snakemake()) == []


def test_what_is_missing_is_made_again_and_what_is_restored_leaves_log_and_cost_alone(first):
    made = first.hashes()
    kept = {
        file: file.read_text()
        for name in ("logs/grader.log", "benchmarks/grader.tsv", "logs/judge-pretrain.log")
        if (file := first.root / "results" / name)
    }
    assert "grader: step " in kept[first.root / "results/logs/grader.log"]
    for folder in ("results/grader/checkpoint", "results/judge/instruct"):
        shutil.rmtree(first.root / folder)
    assert ran(first.snakemake()) == []
    assert "Nothing to be done" in first.snakemake()
    assert first.hashes() == made
    assert clean(first)
    assert {file: file.read_text() for file in kept} == kept


def test_snakemake_needs_no_home_that_it_can_write_to(first):
    assert "Nothing to be done" in first.run("snakemake", "-n", HOME="/proc")


def test_jobs_ahead_of_a_stage_leave_nothing_and_how_many_is_no_reason_to_run_it(first):
    made, target = first.hashes(), "data/tokenize/record.json"
    shutil.rmtree(first.root / "data/prepare")
    words = ("snakemake", "--cores", "2", "--set-scatter", "prepare=3", "tokenize=2", "--", target)
    first.run(*words, LLMILL_AUDIT="1")
    logs = sorted((first.root / "results/logs/snakemake").glob("*-part-*.log"))
    assert [log.read_text() for log in logs] == [
        "prepare: share 1-of-3: 5 of 14 parts\n",
        "prepare: share 2-of-3: 5 of 14 parts\n",
        "prepare: share 3-of-3: 4 of 14 parts\n",
        "tokenize: share 1-of-2: 1 of 2 parts\n",
        "tokenize: share 2-of-2: 1 of 2 parts\n",
    ]
    left = (path.relative_to(first.root / "scratch") for path in first.root.glob("scratch/*/*"))
    names = sorted(str(path) for path in left if path.parent.name in ("prepare", "tokenize"))
    assert names == [
        "prepare/lock", "prepare/published.json", "tokenize/lock", "tokenize/published.json",
    ]  # fmt: skip
    assert "Nothing to be done" in first.run("snakemake", "-n")
    assert (first.hashes(), clean(first)) == (made, True)


def test_experiments_in_folders_of_their_own_track_in_the_repository(first):
    """With the environment alone: nothing says where the code is."""

    def titled(title: str) -> list[tuple[str, str, str]]:
        return [
            (run.name, run.status, run.tags["dvc.experiment"])
            for run in tracked_runs(first)
            if run.parameters.get("report.title") == title
        ]

    alone = {"PYTHONPATH": ""}
    first.run("git", "add", "-A")
    first.run("git", "commit", "-qm", "lock")
    before = finished(first, "report")
    first.run("dvc", "exp", "run", "--queue", "-n", "grid", "-S", "report.title=one,two", **alone)
    first.run("dvc", "queue", "start", "--jobs", "2", **alone)
    until(lambda: finished(first, "report") == before + 2, 600, every=0.25)
    folders = first.root / ".dvc/tmp/exps"  # each goes when its experiment is in Git
    until(lambda: not [*folders.glob("tmp*")], 600, every=0.25)
    until(lambda: "Running" not in first.run("dvc", "queue", "status"), 600, every=0.25)
    assert [titled(title) for title in ("one", "two")] == [
        [("report", "FINISHED", f"grid-{n}")] for n in (1, 2)
    ]
    first.run("dvc", "queue", "stop", **alone)
    assert first.run("git", "status", "--porcelain") == ""


def test_a_change_of_code_is_seen_by_both_and_touches_only_what_can_change(first):
    # Only stage judge imports it.
    module = first.root / "src/llmill/evaluation/statistics/agreement.py"
    text = module.read_text()
    module.write_text(text + "\nA_CHANGE = 1\n")
    try:
        assert "modified:           src/llmill" in first.run("dvc", "status", "code")
        assert scheduled(first.run("snakemake", "-n")) == {
            "code",
            "judge",
            "contamination",
            "report",
        }
    finally:
        module.write_text(text)


def test_snakemake_draws_its_graph_and_writes_its_report(first):
    graph = first.run("snakemake", "--dag", "--forceall")
    assert "digraph snakemake_dag" in graph
    assert graph.count("label = ") >= len(ALL)
    assert "pretrain" in first.run("dvc", "dag")
    first.run("snakemake", "--report", "report.zip")
    with zipfile.ZipFile(first.root / "report.zip") as archive:
        (page,) = [
            archive.read(n).decode() for n in archive.namelist() if n.endswith("report.html")
        ]
    for caption in (first.root / "workflow/report").glob("*.rst"):
        assert caption.read_text().split(".")[0].split("\n")[0] in page, caption.name


def test_a_wrong_parameter_is_one_line_from_every_entry_point(first):
    first.edit("params.yaml", "  vocab_size: ", "  vocabsize: ")
    try:
        for words in (["snakemake", "--cores", "1"], [sys.executable, "-m", "llmill", "results"]):
            out = first.run(*words, check=False)
            assert (
                "llmill: params.yaml: unknown parameter 'tokenizer.vocabsize'; did you mean 'vocab_size'?"
                in out
            )
            assert "Traceback" not in out
    finally:
        first.edit("params.yaml", "  vocabsize: ", "  vocab_size: ")
