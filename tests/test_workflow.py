"""Snakemake, DVC and MLflow together, for real: the smoke preset in clones of this repository.

Two full chains in all: one by `snakemake`, one by `dvc repro`; every row of the design's table
looks at them.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from benchmarks.terminal import Terminal
from tests.conftest import ROOT, preset_text
from tests.test_main import console_script

ALL = [
    "paths", "code", "download", "prepare", "tokenizer", "tokenize", "pretrain", "classify@last_layer", "classify@last_block",
    "classify@all", "instruct", "grader", "accuracy", "mmlu@pretrain", "mmlu@instruct", "judge@pretrain",
    "judge@instruct", "export@pretrain", "export@instruct", "export@classify/all", "report",
]  # fmt: skip
CLASSIFIER = [
    "accuracy", "classify@all", "classify@last_block", "classify@last_layer",
    "export@classify/all", "report",
]  # fmt: skip


@dataclass
class Clone:
    """A clone of the repository with an environment of its own code."""

    root: Path

    def run(self, *words: str, check: bool = True, **extra: str) -> str:
        """A command's output, both streams; its failure is the test's."""
        done = subprocess.run(
            words,
            cwd=self.root,
            env=environment(**extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-6000:]}"
        return done.stdout

    def snakemake(self) -> str:
        return self.run("snakemake", "--cores", "2", "all", LLMILL_AUDIT="1")

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.root / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def hashes(self) -> dict[str, str]:
        """What DVC says that each stage put out."""
        lock = yaml.safe_load((self.root / "dvc.lock").read_text())["stages"]
        return {name: entry["outs"][0]["md5"] for name, entry in lock.items()}


def environment(**extra: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "LLMILL_", "DVC_"))}
    return {**kept, "PYTHONPATH": "src", "GIT_CONFIG_GLOBAL": os.devnull, **extra}


def clone(folder: Path) -> Clone:
    """The tracked files as they are in the working tree, in a repository of their own, on the smoke
    preset.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / "dvc.lock").unlink(missing_ok=True)
    (folder / "params.yaml").write_text(preset_text("smoke"))
    made = Clone(folder)
    made.run("git", "init", "-q")
    made.run("git", "add", "-A")
    made.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "clone")
    made.run("git", "config", "user.name", "t")
    made.run("git", "config", "user.email", "t@example.org")
    return made


def ran(output: str) -> list[str]:
    """The stages whose command ran."""
    return sorted(re.findall(r"Running stage '([\w@/]+)'", output))


def planned(made: Clone) -> dict[str, str]:
    """What `llmill plan` says of each stage that `dvc repro` will not leave."""
    plan = json.loads(made.run(sys.executable, "-m", "llmill", "plan", "--json"))
    return {each["stage"]: each["outcome"] for each in plan if each["outcome"] != "leave"}


def scheduled(output: str) -> set[str]:
    """The rules that a dry run of snakemake would run."""
    return set(re.findall(r"^(?:local)?rule (\w+):", output, re.M)) - {"all"}


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Clone:
    """A clone, in a path with a space, in which `snakemake --cores 2 all` ran."""
    made = clone(tmp_path_factory.mktemp("one") / "a clone")
    made.log = made.snakemake()
    return made


@pytest.fixture(scope="module")
def second(tmp_path_factory) -> Clone:
    """Another clone, in which `dvc repro` ran."""
    made = clone(tmp_path_factory.mktemp("two") / "clone")
    made.log = made.run("dvc", "repro", LLMILL_AUDIT="1")
    return made


@pytest.fixture(scope="module")
def pulled(first, tmp_path_factory) -> Clone:
    """A third clone, with the first one's lock file and, through a folder remote, its data."""
    remote = tmp_path_factory.mktemp("remote")
    first.run("dvc", "remote", "add", "--local", "-d", "store", str(remote))
    first.run("dvc", "push", "-q")
    made = clone(tmp_path_factory.mktemp("three") / "clone")
    shutil.copy(first.root / "dvc.lock", made.root / "dvc.lock")
    made.run("dvc", "remote", "add", "--local", "-d", "store", str(remote))
    made.run("dvc", "pull", "-q")
    return made


def clean(made: Clone) -> bool:
    return "Data and pipelines are up to date." in made.run("dvc", "status")


def tracked_runs(made: Clone, columns: str) -> list[list[str]]:
    """Columns of every MLflow run."""
    script = (
        "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db')\n"
        "for r in mlflow.search_runs(search_all_experiments=True, output_format='list'):\n"
        f"    print(*({columns}), sep='|')"
    )
    return [
        line.split("|")
        for line in made.run(sys.executable, "-c", script).splitlines()
        if "|" in line
    ]


def test_snakemake_on_a_fresh_clone_runs_every_stage_and_leaves_dvc_clean(first):
    assert ran(first.log) == sorted(ALL)
    assert clean(first)
    assert first.run("git", "status", "--porcelain") == "?? dvc.lock\n"


def test_independent_stages_run_side_by_side(first):
    spans = {
        name: (int(start), int(end))
        for name, start, end in tracked_runs(
            first, "r.info.run_name, r.info.start_time, r.info.end_time"
        )
    }
    branches = [n for n in spans if n.startswith(("classify", "instruct", "grader"))]
    assert any(
        spans[a][0] < spans[b][1] and spans[b][0] < spans[a][1]
        for a in branches for b in branches if a < b
    )  # fmt: skip


def test_every_stage_that_ran_has_one_finished_run_with_its_surroundings(first):
    columns = "r.info.run_name, r.info.status, 'git.commit' in r.data.tags, 'llmill.record' in r.data.tags"
    found = sorted(tracked_runs(first, columns))
    assert found == [[name, "FINISHED", "True", "True"] for name in sorted(ALL)]


def test_snakemake_again_has_nothing_to_do(first):
    assert "Nothing to be done" in first.snakemake()
    assert clean(first)


def test_two_clones_give_the_same_bytes_by_either_command(first, second):
    assert ran(second.log) == sorted(ALL)
    assert first.hashes() == second.hashes()


def test_the_tables_of_dvc_show_metrics_and_plots(second):
    metrics = second.run("dvc", "metrics", "show")
    assert "results/report/metrics.json" in metrics
    assert "pretrain.loss" in metrics
    plots = second.run("dvc", "plots", "show")
    assert "index.html" in plots
    assert (second.root / "dvc_plots/index.html").exists()


def test_an_edit_of_one_section_redoes_that_stage_and_what_follows_by_dvc_then_nothing_by_snakemake(
    second,
):
    before = second.hashes()
    second.edit("params.yaml", "  bootstrap: 200  # judge", "  bootstrap: 210  # judge")
    judged = ["judge@instruct", "judge@pretrain", "report"]
    assert planned(second) == dict.fromkeys(judged, "run")
    assert ran(second.run("dvc", "repro")) == judged
    assert "judge.bootstrap" in second.run("dvc", "params", "diff")
    log = second.snakemake()
    assert ran(log) == []
    second.edit("params.yaml", "  bootstrap: 210  # judge", "  bootstrap: 200  # judge")
    assert planned(second) == dict.fromkeys(judged, "restore")
    back = second.run("dvc", "repro")
    assert ran(back) == []
    assert "Stage 'judge@pretrain' is cached - skipping run, checking out outputs" in back
    assert second.hashes() == before


def test_the_same_edit_by_make_run_which_says_a_line_as_a_stage_starts_and_ends_and_back(first):
    first.edit("params.yaml", "  examples: 2", "  examples: 1")
    told = first.run("make", "-o", ".venv/ready", "run", LLMILL_AUDIT="1")
    stages = [line for line in told.splitlines() if re.match(r"[\w@/]+: ", line)]
    assert [re.sub(r" in .* s$", " in _ s", line) for line in stages] == [
        "report: starts",
        "report: 7 figures on results/report/index.html",
        "report: done in _ s",
    ]
    assert not re.search("Running stage|input:|dvc push|jobs?id", told)
    assert "perplexity" in told  # the table at the end
    first.edit("params.yaml", "  examples: 1", "  examples: 2")
    back = first.snakemake()
    assert ran(back) == []
    assert "Stage 'report' is cached - skipping run, checking out outputs" in back
    assert clean(first)


@pytest.mark.parametrize(
    ("file", "before", "after", "stages"),
    [
        ("params.yaml", "  examples: 2", "  examples: 3", ["report"]),
        ("src/llmill/stages/report.py", "figures on {", "pictures on {", ["code", "report"]),
    ],
    ids=["parameter", "code"],
)
def test_an_edit_made_by_dvc_and_taken_back_by_snakemake(first, file, before, after, stages):
    made, text = first.hashes(), (first.root / file).read_text()
    first.edit(file, before, after)
    assert ran(first.run("dvc", "repro")) == stages
    (first.root / file).write_text(text)
    assert scheduled(first.run("snakemake", "-n")) == set(stages)
    back = first.snakemake()
    assert ran(back) == []
    assert "Stage 'report' is cached - skipping run, checking out outputs" in back
    assert first.hashes() == made
    assert clean(first)
    assert "Nothing to be done" in first.snakemake()


def commands(page: str) -> list[str]:
    """The indented lines of a page of the docs."""
    return re.findall(r"^    (\S.*)$", (ROOT / "docs" / page).read_text(), re.M)


COURSE = commands("course.md")


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    """A PATH with `llmill` first, as the environment of the README has it."""
    script = Path(*console_script(tmp_path_factory.mktemp("path")))
    return f"{script.parent}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize("command", COURSE)
def test_a_command_of_the_course_runs_on_the_finished_chain(first, path, command):
    assert first.run("sh", "-ec", command, PATH=path)  # of a model that says nothing, a line end


def test_the_course_shows_each_of_its_steps_but_preferences_by_a_command():
    steps = re.split(r"^## ", (ROOT / "docs/course.md").read_text(), flags=re.M)[1:]
    without = [step.splitlines()[0] for step in steps if not re.search(r"^    \S", step, re.M)]
    assert (len(steps), without) == (12, ["Preferences"])


def test_after_dvc_pull_nothing_is_trained(pulled):
    assert ran(pulled.snakemake()) == []
    assert clean(pulled)


def test_verify_holds_names_runs_and_finds_a_changed_byte(first, pulled):
    out = first.run(sys.executable, "-m", "llmill", "verify")
    assert "every link holds" in out
    assert "not here" not in out
    assert "not here" in pulled.run(sys.executable, "-m", "llmill", "verify")
    away = "http://127.0.0.1:9"
    out = first.run(sys.executable, "-m", "llmill", "verify", MLFLOW_TRACKING_URI=away)
    assert "llmill: MLflow's runs cannot be read: " in out
    assert "not here" in out
    file = pulled.root / "results/pretrain/metrics.json"
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content + b" ")
    broken = pulled.run(sys.executable, "-m", "llmill", "verify", check=False)
    assert "results/pretrain/metrics.json: other bytes than its record says" in broken
    file.write_bytes(content)


EDITS = {
    "docstring of the runner": (
        "src/llmill/runner/stage.py",
        '"""Runs one stage',
        '"""Runs a stage',
    ),
    "comment in the meters": ("src/llmill/training/meters.py", "import ", "# a comment\nimport "),
    "empty line in a model": ("src/llmill/model/classifiers.py", "\n\n\n", "\n\n\n\n"),
    "version of a linter": ("requirements.lock", "snakefmt==", "snakefmt==9"),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_that_changes_no_behaviour_trains_nothing_by_either_command(first, name):
    file, before, after = EDITS[name]
    text, made = (first.root / file).read_text(), first.hashes()
    made.pop("code")
    redone = ["code", "report"] if file == "requirements.lock" else ["code"]  # it lists versions
    first.edit(file, before, after)
    assert planned(first) == dict.fromkeys(redone, "run")
    assert scheduled(first.run("snakemake", "-n")) == set(redone)
    assert ran(first.run("dvc", "repro")) == redone
    assert clean(first)
    assert scheduled(first.snakemake()) <= set(redone)
    (first.root / file).write_text(text)
    assert ran(first.snakemake()) == []
    assert first.hashes().items() >= made.items()
    assert clean(first)


def test_a_new_parameter_of_the_report_redoes_the_report_alone(first):
    made, files = first.hashes(), ("params.yaml", "src/llmill/stages/settings/report.py")
    before = {file: (first.root / file).read_text() for file in files}
    first.edit(files[0], "\n  examples: 2", "\n  note: new\n  examples: 2")
    first.edit(files[1], "    examples: Few", "    note: Title\n    examples: Few")
    assert scheduled(first.run("snakemake", "-n")) == {"code", "report"}
    assert ran(first.run("dvc", "repro")) == ["code", "report"]
    for file, text in before.items():
        (first.root / file).write_text(text)
    assert ran(first.snakemake()) == []
    assert first.hashes() == made


def test_an_accepted_edit_changes_nothing_for_snakemake_and_is_told_apart_by_verify(first):
    module = first.root / "src/llmill/report/style.py"
    text = module.read_text()
    module.write_text(text + "\nACCEPTED = True\n")
    broken = first.run(sys.executable, "-m", "llmill", "verify", check=False)
    assert "llmill: code: made from another src/llmill than is here" in broken
    first.run("dvc", "commit", "-f", "-q")
    assert clean(first)
    assert ran(first.snakemake()) == []
    assert "Nothing to be done" in first.snakemake()
    assert clean(first)
    out = first.run(sys.executable, "-m", "llmill", "verify")
    assert "code: another src/llmill than its record names, accepted by `dvc commit`" in out
    module.write_text(text)
    assert ran(first.snakemake()) == []


def test_what_is_missing_is_made_again_and_what_is_restored_leaves_log_and_cost_alone(first):
    made = first.hashes()
    kept = {
        file: file.read_text()
        for name in ("logs/pretrain.log", "benchmarks/pretrain.tsv", "logs/mmlu-pretrain.log")
        if (file := first.root / "results" / name)
    }
    assert "pretrain: step 12/12" in kept[first.root / "results/logs/pretrain.log"]
    for folder in ("data/download", "results/pretrain/checkpoint", "results/mmlu/instruct"):
        shutil.rmtree(first.root / folder)
    assert ran(first.snakemake()) == []
    assert "Nothing to be done" in first.snakemake()
    assert first.hashes() == made
    assert clean(first)
    assert {file: file.read_text() for file in kept} == kept


def test_experiments_in_folders_of_their_own_track_in_the_repository(first):
    """With the environment alone: nothing says where the code is."""

    def title(run: str) -> list[list[str]]:
        columns = "r.info.run_name, r.data.params.get('report.title'), r.info.status"
        return [row for row in tracked_runs(first, columns) if row[1] == run]

    alone = {"PYTHONPATH": ""}
    first.run("git", "add", "-A")
    first.run("git", "commit", "-qm", "lock")
    first.run("dvc", "exp", "run", "--temp", "-S", "report.title=temporary", **alone)
    assert title("temporary") == [["report", "temporary", "FINISHED"]]
    for name in ("one", "two"):
        first.run("dvc", "exp", "run", "--queue", "-S", f"report.title={name}", **alone)
    first.run("dvc", "queue", "start", **alone)
    wait_until(lambda: title("one") and title("two"))
    wait_until(lambda: "Running" not in first.run("dvc", "queue", "status"))
    assert [title(name) for name in ("one", "two")] == [
        [["report", name, "FINISHED"]] for name in ("one", "two")
    ]
    first.run("dvc", "queue", "stop", **alone)
    assert first.run("git", "status", "--porcelain") == ""


def test_an_experiment_with_another_rate_redoes_the_classifier_and_what_follows(pulled):
    log = pulled.run("dvc", "exp", "run", "-S", "classify.training.optimizer.lr=0.002")
    assert ran(log) == CLASSIFIER
    shown = pulled.run("dvc", "exp", "show", "--csv")
    assert "0.002" in shown
    assert "classify.training.optimizer.lr" in pulled.run("dvc", "params", "diff")


def test_a_change_of_code_is_seen_by_both_and_touches_only_what_can_change(first):
    module = first.root / "src/llmill/evaluation/judge.py"
    text = module.read_text()
    module.write_text(text + "\nA_CHANGE = 1\n")
    try:
        assert "modified:           src/llmill" in first.run("dvc", "status", "code")
        assert scheduled(first.run("snakemake", "-n")) == {"code", "judge", "report"}
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


EVERY_STAGE = """
import types
from llmill.contract.values import Section
from llmill.runner import params, stage
from llmill.contract.errors import UserError

for each in params.stages(params.load()).values():
    ran = lambda parameters, job: print("RAN", each.address)
    kind = type("Parameters", (Section,), {"__annotations__": dict.fromkeys(each.params, object)})
    try:
        stage.execute(types.SimpleNamespace(run=ran, Parameters=kind), each.name, each.variant, False)
    except UserError as error:
        print(error)
"""


def test_no_command_replaces_or_removes_a_folder_of_somebody_else(tmp_path):
    made = clone(tmp_path / "clone")
    made.edit("params.yaml", "  data: data", "  data: some/folder")
    made.edit("params.yaml", "  results: results", "  results: other")
    script = "from llmill.runner import params\n"
    script += "print(*(s.out for s in params.stages(params.load()).values()), sep='|')"
    places = made.run(sys.executable, "-c", script).strip().split("|")
    theses = [made.root / place / "thesis.txt" for place in places if "/." not in place]
    for thesis in theses:
        thesis.parent.mkdir(parents=True)
        thesis.write_text("years")
    for words, refusals in [
        (["dvc", "repro"], 1),
        (["snakemake", "--cores", "2"], 1),
        (["snakemake", "--cores", "2", "--forceall"], 1),
        ([sys.executable, "-c", EVERY_STAGE], len(theses)),
    ]:
        out = made.run(*words, check=False)
        assert out.count("stands where a result belongs, but llmill did not make it") == refusals
        assert "Traceback" not in out
        assert [thesis.read_text() for thesis in theses] == ["years"] * len(ALL[1:])


TOY = """
stages:
  sleep:
    matrix: {n: [a, b, c, d, e, f, g, h]}
    cmd: python -c "import time, pathlib; time.sleep(1); pathlib.Path('${item.n}').write_text('${item.n}')"
    outs: ["${item.n}"]
"""


@pytest.fixture
def toy(tmp_path) -> Clone:
    """A DVC repository of eight variants that sleep."""
    made = Clone(tmp_path)
    made.run("git", "init", "-q")
    made.run("dvc", "init", "-q")
    (tmp_path / "dvc.yaml").write_text(TOY)
    return made


def test_eight_variants_at_once_never_fail_on_a_lock(toy):
    words = ["dvc", "--wait-for-lock", "repro", "--single-item"]
    processes = [
        subprocess.Popen([*words, f"sleep@{n}"], cwd=toy.root, env=environment(), stdout=subprocess.DEVNULL)
        for n in "abcdefgh"
    ]  # fmt: skip
    assert [p.wait() for p in processes] == [0] * 8
    assert len(toy.hashes()) == 8


STOPS = {
    "killed": lambda terminal: terminal.process.send_signal(signal.SIGKILL),
    "Ctrl-C": lambda terminal: terminal.press(),
}


@pytest.mark.parametrize(
    ("tool", "stop", "steps"),  # another training each time
    [("dvc", "killed", 410), ("snakemake", "killed", 420), ("snakemake", "Ctrl-C", 430)],
)
def test_a_training_whose_tool_is_stopped_saves_says_so_and_goes_on_to_the_end(
    pulled, tool, stop, steps
):
    """The longest training of the smoke preset, made longer, in a terminal."""
    pulled.run("git", "checkout", "-q", "params.yaml")
    pulled.edit("params.yaml", "max_steps: 12  # pretrain", f"max_steps: {steps}  # pretrain")
    words = {
        "dvc": ["dvc", "repro", "--single-item", "pretrain"],
        "snakemake": ["snakemake", "--cores", "2", "results/pretrain/record.json"],
    }[tool]
    terminal = Terminal(words, pulled.root, environment())
    terminal.wait_for(r"pretrain: step 8/", 120)
    STOPS[stop](terminal)
    terminal.wait_for("stopped by signal", 120)
    terminal.process.wait(120)
    wait_until(lambda: not stage_is_running(pulled))
    reached = int(re.findall(r"pretrain: step (\d+)/", terminal.text)[-1])
    pulled.run("snakemake", "--unlock")
    log = pulled.run(*words)
    assert int(re.search(r"continues at step (\d+)", log)[1]) >= reached
    rows = (pulled.root / "results/pretrain/curves.csv").read_text().splitlines()
    logged = sorted({*range(4, steps, 4), steps})
    assert [row.split(",")[0] for row in rows] == ["step", *map(str, logged)]
    columns = "r.info.status, r.data.params.get('pretrain.training.max_steps')"
    assert [run for run in tracked_runs(pulled, columns) if run[1] == str(steps)] == [
        ["FINISHED", str(steps)]
    ]
    pulled.run("git", "checkout", "-q", "params.yaml")


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(240):
        if condition():
            return
        time.sleep(0.25)
    raise TimeoutError


def stage_is_running(made: Clone) -> bool:
    from filelock import FileLock, Timeout

    try:
        with FileLock(made.root / "scratch/pretrain/lock", timeout=0):
            return False
    except Timeout:
        return True
