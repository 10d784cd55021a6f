"""`dvc repro`, pulled data, experiments and stops, for real: a clone in which `dvc repro` made the chain,
and one that got its data from it.
"""

import json
import re
import shutil
import signal
import subprocess
import sys

import psutil
import pytest

from benchmarks.terminal import Terminal
from tests.chains import (
    ALL,
    UNTRACKED,
    Clone,
    by_snakemake,
    clean,
    clone,
    commands,
    environment,
    path_with_llmill,
    planned,
    ran,
    scheduled,
    tracked_runs,
)  # fmt: skip
from tests.waiting import until

SCORED = ["accuracy", "report"]


@pytest.fixture(scope="module")
def second(tmp_path_factory) -> Clone:
    """Another clone, in which `dvc repro` ran."""
    made = clone(tmp_path_factory.mktemp("two") / "clone")
    log = made.run("dvc", "repro", LLMILL_AUDIT="1", **UNTRACKED)
    (made.root.parent / "log").write_text(log)
    return made


@pytest.fixture(scope="module")
def pulled(second, tmp_path_factory) -> Clone:
    """Another, with that one's lock file and, through a folder remote, its data."""
    remote = tmp_path_factory.mktemp("remote")
    second.run("dvc", "remote", "add", "--local", "-d", "store", str(remote))
    second.run("dvc", "push", "-q")
    made = clone(tmp_path_factory.mktemp("three") / "clone")
    shutil.copy(second.root / "dvc.lock", made.root / "dvc.lock")
    made.run("dvc", "remote", "add", "--local", "-d", "store", str(remote))
    made.run("dvc", "pull", "-q")
    return made


def test_two_clones_give_the_same_bytes_by_either_command(second, tmp_path_factory):
    assert ran((second.root.parent / "log").read_text()) == sorted(ALL)
    first = by_snakemake(tmp_path_factory)
    assert json.loads((first.root.parent / "hashes.json").read_text()) == second.hashes()


def test_the_tables_of_dvc_show_metrics_and_plots(second):
    metrics = second.run("dvc", "metrics", "show")
    assert "results/report/metrics.json" in metrics
    assert "pretrain.loss" in metrics
    plots = second.run("dvc", "plots", "show")
    assert "index.html" in plots
    assert (second.root / "dvc_plots/index.html").exists()


def test_an_edit_of_one_section_redoes_that_stage_and_what_follows(second):
    before = second.hashes()
    old, new = "  bootstrap: 200\n\nmmlu:", "  bootstrap: 210\n\nmmlu:"
    second.edit("params.yaml", old, new)
    # What the classifiers say is the same, and that is all that `contamination` reads of `accuracy`.
    assert planned(second) == {**dict.fromkeys(SCORED, "run"), "contamination": "may run"}
    assert scheduled(second.run("snakemake", "-n")) == {*SCORED, "contamination"}
    assert ran(second.run("dvc", "repro", **UNTRACKED)) == SCORED
    assert "accuracy.bootstrap" in second.run("dvc", "params", "diff")
    second.edit("params.yaml", new, old)
    assert planned(second) == dict.fromkeys(SCORED, "restore")
    back = second.run("dvc", "repro")
    assert ran(back) == []
    assert "Stage 'accuracy' is cached - skipping run, checking out outputs" in back
    assert second.hashes() == before


def test_after_dvc_pull_nothing_is_trained(pulled):
    assert ran(pulled.snakemake()) == []
    assert clean(pulled)


def test_verify_holds_where_the_runs_are_elsewhere_and_finds_a_changed_byte(pulled):
    out = pulled.run(sys.executable, "-m", "llmill", "verify")
    assert "every link holds" in out
    assert out.count("not here") == len(ALL)
    file = pulled.root / "results/pretrain/metrics.json"
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content + b" ")
    broken = pulled.run(sys.executable, "-m", "llmill", "verify", check=False)
    assert "results/pretrain/metrics.json: other bytes than its record says" in broken
    file.write_bytes(content)


def test_an_experiment_with_another_value_redoes_that_stage_and_what_follows(pulled):
    words = ["dvc", "exp", "run", "-S", "accuracy.confidence=0.875"]
    assert ran(pulled.run(*words, **UNTRACKED)) == SCORED
    assert "0.875" in pulled.run("dvc", "exp", "show", "--csv")
    assert "accuracy.confidence" in pulled.run("dvc", "params", "diff")


YOUR_DATA = commands("your-data.md")


def test_every_command_of_your_data_does_what_the_page_says(second, tmp_path_factory):
    """The page from its first line to its last, in a clone whose chain is finished."""
    path, said = path_with_llmill(tmp_path_factory), []
    *before, add = YOUR_DATA
    for command in before:
        said.append(second.run("sh", "-ec", command, PATH=path, **UNTRACKED))
    (looked, _, made, classified, _, plan, _, whole) = said[2:]
    assert "classes: 3: billing 40, shipping 40, login 40" in looked
    assert "classification: {file: own/tickets.csv, text: subject, label: queue}" in looked
    assert {"download", "prepare", "classify@all", "accuracy"} <= set(ran(made))
    assert re.match(r"(billing|login|shipping)\b", classified)
    rows = [line.split()[:2] for line in plan.splitlines()]
    assert ["download", "run"] in rows
    assert "grader: skipped: download.instruction is null" in whole
    assert "mmlu@pretrain: skipped: download.mmlu is null" in whole
    assert clean(second)
    page = (second.root / "results/report/index.html").read_text()
    assert "Skipped: download.instruction is null." in page
    assert "Skipped: download.mmlu is null." in page
    tickets = (second.root / "data/prepare/classification").glob("*.jsonl")
    assert sum(len(file.read_text().splitlines()) for file in tickets) == 121
    second.run("sh", "-ec", add, PATH=path)
    assert {file.name for file in (second.root / "own").iterdir()} == {
        ".gitignore", "README.md", "tickets.csv", "tickets.csv.dvc",
    }  # fmt: skip
    assert ran(second.run("dvc", "repro", "-s", "download", **UNTRACKED)) == ["download"]
    assert planned(second) == {"report": "run"}


EVERY_STAGE = """
import types
from llmill.contract.values import Section
from llmill.runner import params, stage
from llmill.contract.errors import UserError

for each in params.stages(params.load()).values():
    ran = lambda parameters, job: print("RAN", each.address)
    kind = type("Parameters", (Section,), {"__annotations__": dict.fromkeys(each.sections, object)})
    try:
        module = types.SimpleNamespace(run=ran, Parameters=kind)
        stage.execute(lambda: module, each.name, each.variant, False)
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
        assert out.count("llmill writes a result here, but did not create") == refusals
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
    [("dvc", "killed", 110), ("snakemake", "killed", 120), ("snakemake", "Ctrl-C", 130)],
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
    terminal.wait_for(r"pretrain: step 8/", 300)
    STOPS[stop](terminal)
    terminal.wait_for("stopped by signal", 120)
    terminal.process.wait(120)
    until(lambda: not at_work(pulled), 600, every=0.25)
    reached = int(re.findall(r"pretrain: step (\d+)/", terminal.text)[-1])
    pulled.run("snakemake", "--unlock")
    log = pulled.run(*words)
    assert int(re.search(r"continues at step (\d+)", log)[1]) >= reached
    rows = (pulled.root / "results/pretrain/curves.csv").read_text().splitlines()
    logged = sorted({*range(4, steps, 4), steps})
    assert [row.split(",")[0] for row in rows] == ["step", *map(str, logged)]
    of_steps = [
        run.status
        for run in tracked_runs(pulled)
        if run.name == "pretrain" and run.parameters["pretrain.training.max_steps"] == str(steps)
    ]
    assert of_steps == ["FINISHED"]
    pulled.run("git", "checkout", "-q", "params.yaml")


def at_work(made: Clone) -> bool:
    """Whether a process works in the clone: a stage, or DVC that still writes down what became of it."""
    here = str(made.root)
    return any(process.info["cwd"] == here for process in psutil.process_iter(["cwd"]))
