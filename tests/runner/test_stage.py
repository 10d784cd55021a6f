"""The runner, in a toy repository with real processes: records, locks, signals, the death of the
parent, tracking.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.conftest import ROOT, copy_source, preset_text, write_code
from tests.waiting import ended, until

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

STAGE = '''"""A toy stage: counts slowly, saving each step."""
import os, time
from pathlib import Path
from llmill.contract.errors import Stopped, UserError
from llmill.contract.values import Section
from llmill.stages.settings.tokenize import Tokenize

class Parameters(Section):
    tokenize: Tokenize

def run(params, job):
    job.state.mkdir(exist_ok=True)
    counter = job.state / "count"
    start = int(counter.read_text()) if counter.exists() else 0
    with job.stop.deferred():
        for i in range(start, params.tokenize.processes):
            counter.write_text(str(i + 1))
            job.track.metrics({"counted": i + 1}, step=i + 1)
            job.say(f"step {i + 1}")
            while Path("hold").exists():
                time.sleep(0.05)
            if job.stop.signum:
                raise Stopped(job.stop.signum)
    if os.environ.get("FAIL"):
        (job.out / "half").write_text("half")
        raise UserError("input.txt: too short; add a line")
    (job.out / "result").write_text(Path("input.txt").read_text() * start if start else "whole")
    job.track.metrics({"figure": 1.5}, step=1)
'''
DVC = """
stages:
  tokenize:
    cmd: python -m llmill tokenize
    params: [tokenize]
    deps: [input.txt, data/code/tokenize.json]
    outs: ["${paths.data}/tokenize"]
"""
CODE = """
  code:
    cmd: python -m llmill code
    deps: [src/llmill]
    outs: ["${paths.data}/code"]
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A repository with one stage of its own code, and an empty database of runs, which MLflow takes
    a second to make.
    """
    root = tmp_path_factory.mktemp("template")
    copy_source(root)
    (root / "src/llmill/stages/tokenize.py").write_text(STAGE)
    (root / "dvc.yaml").write_text(DVC)
    shutil.copy(ROOT / "requirements.lock", root)
    (root / "input.txt").write_text("text\n")
    write_code(root, "tokenize")
    (root / "params.yaml").write_text(preset_text("world"))
    client_of(root).search_experiments()
    return root


@pytest.fixture
def toy(template: Path, tmp_path: Path) -> Path:
    """A copy of it, in a path with a space."""
    root = tmp_path / "a toy"
    subprocess.run(["cp", "-rp", template, root], check=True)
    return root


def environment(**extra: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "LLMILL_AUDIT")}
    return {**kept, "PYTHONPATH": "src", **extra}


UNTRACKED = {"LLMILL_TRACKING": "off"}  # MLflow takes seconds


def start(toy: Path, *words: str, **extra: str) -> subprocess.Popen:
    return subprocess.Popen(
        words or (sys.executable, "-m", "llmill", "tokenize"),
        cwd=toy,
        env=environment(**extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # ignored under `nohup`
    )


def held(toy: Path, *words: str, **extra: str) -> subprocess.Popen:
    """A stage that has done one step and does no other while the file `hold` is there."""
    (toy / "hold").touch()
    process = start(toy, *words, **extra)
    until_step(process, 1)
    return process


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def until_step(process: subprocess.Popen, step: int) -> None:
    """Read lines until the stage says that it reached a step."""
    for line in process.stdout:
        if line.endswith(f"step {step}\n"):
            return
    raise AssertionError(process.stderr.read())


def runs(toy: Path) -> list[str]:
    """Name and status of every MLflow run, oldest first."""
    with contextlib.closing(sqlite3.connect(toy / "mlflow.db")) as database:  # MLflow takes seconds
        found = database.execute("SELECT name, status FROM runs ORDER BY start_time")
        return [f"{name} {status}" for name, status in found]


def client_of(toy: Path) -> MlflowClient:
    """MLflow's own, on the database of the repository."""
    from mlflow import MlflowClient  # takes a second

    return MlflowClient(f"sqlite:///{toy / 'mlflow.db'}")


def every_run(client: MlflowClient) -> list[Run]:
    """The runs as MLflow finds them."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments)


def test_a_stage_writes_its_folder_its_record_and_its_run_and_leaves_nothing_else(toy):
    (toy / "mlflow.db").unlink()
    code, out, err = finish(start(toy))
    assert (code, err) == (0, "")
    assert "tokenize: step 2" in out
    record = json.loads((toy / "data/tokenize/record.json").read_text())
    assert record["parameters"] == {"tokenize": {"processes": 2}}
    assert list(record["inputs"]) == ["input.txt", "data/code/tokenize.json"]
    assert list(record["outputs"]) == ["result"]
    assert runs(toy) == ["tokenize FINISHED"]
    assert (toy / "results/logs/tokenize.log").read_text() == out
    columns, values = (toy / "results/benchmarks/tokenize.tsv").read_text().splitlines()
    assert columns == "s\th:m:s\tmax_rss\tcpu_time\trecord"
    *took, made = values.split("\t")
    assert all(float(value) > 0 for value in took[::2])
    assert made == hashlib.sha256((toy / "data/tokenize/record.json").read_bytes()).hexdigest()
    left = sorted(p.name for p in (toy / "scratch/tokenize").iterdir())
    assert left == ["lock", "published.json"]
    assert not list(toy.rglob("*.tmp"))


def test_without_tracking_a_stage_writes_the_same_and_there_is_no_run(toy):
    (toy / "mlflow.db").unlink()
    code, out, err = finish(start(toy, **UNTRACKED))
    assert (code, err) == (0, "")
    assert "tokenize: step 2" in out
    record = json.loads((toy / "data/tokenize/record.json").read_text())
    assert record["parameters"] == {"tokenize": {"processes": 2}}
    assert list(record["inputs"]) == ["input.txt", "data/code/tokenize.json"]
    assert list(record["outputs"]) == ["result"]
    assert (toy / "data/tokenize/result").read_text() == "whole"
    left = sorted(p.name for p in (toy / "scratch/tokenize").iterdir())
    assert left == ["lock", "published.json"]
    assert not (toy / "mlflow.db").exists()


def test_a_skipped_stage_leaves_the_log_and_the_cost_of_the_last_real_run(toy):
    assert finish(start(toy, **UNTRACKED))[0] == 0
    files = [toy / "results/logs/tokenize.log", toy / "results/benchmarks/tokenize.tsv"]
    kept = [file.read_text() for file in files]
    skipped = {"skipped": "download.text is null"}
    (toy / "made").mkdir()
    (toy / "made/skipped.json").write_text(json.dumps(skipped))
    (toy / "dvc.yaml").write_text(DVC.replace("[input.txt,", "[made,"))
    code, out, err = finish(start(toy, **UNTRACKED))
    assert (code, out, err) == (0, "tokenize: skipped: download.text is null\n", "")
    assert json.loads((toy / "data/tokenize/metrics.json").read_text()) == skipped
    assert [file.read_text() for file in files] == kept


def test_a_users_mistake_is_one_line_exit_code_one_and_nothing_half_written(toy):
    code, _, err = finish(start(toy, FAIL="1"))
    assert (code, err) == (1, "llmill: input.txt: too short; add a line\n")
    assert not (toy / "data/tokenize").exists()
    assert not list((toy / "data").rglob("*.tmp"))
    assert runs(toy) == ["tokenize FAILED"]


def test_a_line_of_a_stage_shows_what_it_quotes(toy):
    module = toy / "src/llmill/stages/tokenize.py"
    quoting = 'job.say("label \\x1b[31m\\x9b\\r\\ndone é")'
    module.write_text(
        module.read_text()
        + f"\n_run = run\ndef run(params, job):\n    {quoting}\n    _run(params, job)\n"
    )
    write_code(toy, "tokenize")
    code, out, err = finish(start(toy, **UNTRACKED))
    assert (code, err) == (0, "")
    assert "tokenize: label \\x1b[31m\\x9b\\r\\ndone é" in out.splitlines()


def test_a_wrong_parameter_of_any_section_stops_every_stage(toy):
    file = toy / "params.yaml"
    file.write_text(file.read_text().replace("  shots: 2", "  shot: 2"))
    code, _, err = finish(start(toy))
    assert code == 1
    assert err == "llmill: params.yaml: unknown parameter 'mmlu.shot'; did you mean 'shots'?\n"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_and_the_same_command_goes_on_in_the_same_run(toy, signum):
    process = held(toy)
    process.send_signal(signum)
    (toy / "hold").unlink()
    code, _, err = finish(process)
    assert code == 128 + signum
    assert err == (
        f"llmill: signal {int(signum)}: saving, then stopping\n"
        f"llmill: stopped by signal {int(signum)}; the same command continues from here\n"
    )
    assert runs(toy) == ["tokenize KILLED"]
    code, out, _ = finish(start(toy))
    assert code == 0
    assert "step 1" not in out
    assert runs(toy) == ["tokenize FINISHED"]
    log = (toy / "results/logs/tokenize.log").read_text()
    parts = ["step 1", f"stopped by signal {int(signum)}", "step 2"]
    assert [log.count(part) for part in parts] == [1, 1, 1]


def test_further_signals_change_nothing_while_a_first_one_is_answered(toy):
    process = held(toy)
    for signum in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
        process.send_signal(signum)
    (toy / "hold").unlink()
    code, _, err = finish(process)
    assert code == 128 + signal.SIGINT
    assert err.endswith("llmill: stopped by signal 2; the same command continues from here\n")
    assert runs(toy) == ["tokenize KILLED"]


def test_under_nohup_a_closed_terminal_stops_nothing(toy):
    process = held(toy, "nohup", sys.executable, "-m", "llmill", "tokenize")
    process.send_signal(signal.SIGHUP)
    (toy / "hold").unlink()
    assert finish(process)[0] == 0
    assert runs(toy) == ["tokenize FINISHED"]


def test_a_stage_outlives_the_reader_of_its_output(toy):
    process = held(toy)
    process.stdout.close()
    process.stderr.close()
    (toy / "hold").unlink()
    assert process.wait(120) == 0
    assert runs(toy) == ["tokenize FINISHED"]


def test_a_stage_outlives_its_terminal(toy):
    (toy / "hold").touch()
    master, terminal = pty.openpty()
    words = (sys.executable, "-m", "llmill", "tokenize")
    process = subprocess.Popen(words, cwd=toy, env=environment(), stdout=terminal, stderr=terminal)
    os.close(terminal)
    said = b""
    while b"step 1" not in said:
        said += os.read(master, 1000)
    os.close(master)
    (toy / "hold").unlink()
    assert process.wait(120) == 0
    assert runs(toy) == ["tokenize FINISHED"]


def dvc(toy: Path, *words: str, **extra: str) -> str:
    command = (sys.executable, "-m", "dvc", *words)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    code, out, err = finish(start(toy, *command, PATH=path, **extra))
    assert code == 0, err
    return out


def test_a_stop_before_dvc_has_the_result_costs_no_step(toy):
    dvc(toy, "init", "--no-scm", "-q")
    code, out, _ = finish(start(toy, DVC_STAGE="tokenize"))  # DVC was killed before it went on
    assert (code, "step 1" in out) == (0, True)
    assert "step 1" not in dvc(toy, "repro", "tokenize")
    assert runs(toy) == ["tokenize FINISHED"]


def test_the_state_goes_once_dvc_has_the_result(toy):
    dvc(toy, "init", "--no-scm", "-q")
    dvc(toy, "repro", "tokenize", **UNTRACKED)
    assert len(list(toy.glob("scratch/tokenize/*/state"))) == 1
    assert "step 1" in dvc(toy, "repro", "--force", "tokenize", **UNTRACKED)
    params = toy / "params.yaml"
    params.write_text(params.read_text().replace("processes: 2", "processes: 3"))
    out = dvc(toy, "repro", "tokenize", **UNTRACKED)
    assert "step 1" in out
    assert "interrupted" not in out
    assert len(list(toy.glob("scratch/tokenize/*/state"))) == 1


def test_a_run_that_continues_after_a_kill_has_every_figure_once(toy):
    process = held(toy)
    process.kill()
    process.communicate()
    (toy / "hold").unlink()
    (counter,) = toy.glob("scratch/tokenize/*/state/count")
    counter.write_text("0")  # as if the state were older than the curve
    assert finish(start(toy))[0] == 0
    client = client_of(toy)
    (run,) = every_run(client)
    history = client.get_metric_history(run.info.run_id, "counted")
    assert [(at.step, at.value) for at in history] == [(1, 1.0), (2, 2.0)]


def test_after_a_hard_kill_the_next_start_marks_the_run_and_continues_it(toy):
    process = held(toy)
    process.kill()
    process.communicate()
    (toy / "hold").unlink()
    assert runs(toy) == ["tokenize RUNNING"]
    file = toy / "params.yaml"
    file.write_text(file.read_text().replace("processes: 2", "processes: 3"))
    assert finish(start(toy))[0] == 0  # other parameters: another run; the dead one is closed
    assert sorted(runs(toy)) == ["tokenize FINISHED", "tokenize KILLED"]


def test_a_state_of_other_code_is_refused_unless_asked_for(toy):
    process = held(toy, **UNTRACKED)
    process.kill()
    process.communicate()
    (toy / "hold").unlink()
    module = toy / "src/llmill/stages/tokenize.py"
    module.write_text(module.read_text() + "CHANGED = 1\n")
    write_code(toy, "tokenize")
    code, _, err = finish(start(toy, **UNTRACKED))
    assert code == 1
    assert "an interrupted run of other code (llmill.stages.tokenize)" in err
    assert err.count("\n") == 1
    words = (sys.executable, "-m", "llmill", "tokenize", "--resume-anyway")
    assert finish(start(toy, *words, **UNTRACKED))[0] == 0


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("params.yaml", "processes: 2", "processes: 3", "tokenize.processes"),
        ("input.txt", "text", "other", "input.txt"),
    ],
)
def test_a_result_of_what_was_edited_while_it_ran_is_not_kept(toy, file, old, new, named):
    process = held(toy, **UNTRACKED)
    before = (toy / file).read_text()
    (toy / file).write_text(before.replace(old, new))
    (toy / "hold").unlink()
    code, _, err = finish(process)
    assert (code, err) == (
        1,
        f"llmill: tokenize: {named} changed while it ran, so its result is not kept; the same "
        "command runs it as it is now\n",
    )
    assert not (toy / "data/tokenize").exists()
    (toy / file).write_text(before)  # what was done is still there
    code, out, _ = finish(start(toy, **UNTRACKED))
    assert code == 0
    assert "step 1" not in out


def test_an_edit_of_another_section_or_of_a_comment_while_it_runs_costs_nothing(toy):
    process = held(toy, **UNTRACKED)
    file = toy / "params.yaml"
    file.write_text(file.read_text().replace("  shots: 2", "  shots: one") + "# more\n")
    (toy / "input.txt.tmp").write_text("a copy under way")
    (toy / "hold").unlink()
    assert finish(process)[0] == 0


def test_parameters_that_cannot_be_read_at_the_end_cost_the_result_but_no_step(toy):
    process = held(toy, **UNTRACKED)
    file = toy / "params.yaml"
    before = file.read_text()
    file.write_text("tokenize: [\n")
    (toy / "hold").unlink()
    code, _, err = finish(process)
    assert code == 1
    assert err.startswith("llmill: params.yaml: not YAML")
    assert err.endswith("; so the result of tokenize is not kept\n")
    file.write_text(before)
    assert "step 1" not in finish(start(toy, **UNTRACKED))[1]


def test_source_that_dvc_commit_has_accepted_runs(toy):
    """Under DVC, which holds its locks then."""
    file = toy / "dvc.yaml"
    file.write_text(DVC + CODE)
    dvc(toy, "init", "--no-scm", "-q")
    dvc(toy, "commit", "-f", "-q", "code")
    module = toy / "src/llmill/stages/tokenize.py"
    module.write_text(module.read_text() + "CHANGED = 1\n")
    failed = start(toy, sys.executable, "-m", "dvc", "repro", "-s", "tokenize", **UNTRACKED)
    assert "the source was edited after" in finish(failed)[2]
    dvc(toy, "commit", "-f", "-q", "code")
    assert "step 1" in dvc(toy, "repro", "-s", "tokenize", **UNTRACKED)


def test_a_missing_file_of_code_is_one_line(toy):
    (toy / "data/code/tokenize.json").unlink()
    code, _, err = finish(start(toy, **UNTRACKED))
    assert code == 1
    assert err.startswith("llmill: data/code/tokenize.json: missing; ")
    assert err.count("\n") == 1


def test_source_that_stage_code_has_not_read_does_not_run(toy):
    module = toy / "src/llmill/stages/tokenize.py"
    module.write_text(module.read_text() + "CHANGED = 1\n")
    code, _, err = finish(start(toy, **UNTRACKED))
    assert code == 1
    assert err.startswith("llmill: tokenize: the source was edited after data/code/tokenize.json")
    assert err.count("\n") == 1
    module.write_text(module.read_text().replace("CHANGED = 1\n", "# a comment\n"))
    assert finish(start(toy, **UNTRACKED))[0] == 0


def test_a_second_process_of_the_same_stage_is_refused(toy):
    first = held(toy, **UNTRACKED)
    second = start(toy, **UNTRACKED)
    with contextlib.suppress(subprocess.TimeoutExpired):
        second.wait(120)
    (toy / "hold").unlink()
    code, _, err = finish(second)
    assert code == 1
    assert "scratch/tokenize: another process is running this stage" in err
    assert finish(first)[0] == 0


@pytest.mark.parametrize("name", ["dvc", "snakemake"])
def test_the_death_of_its_starter_stops_the_stage(toy, name):
    starter = toy / name
    starter.write_text(
        "import subprocess, sys; subprocess.run([sys.executable, '-m', 'llmill', 'tokenize'])"
    )
    parent = held(toy, sys.executable, str(starter))
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    assert parent.stderr.readline().endswith("saving, then stopping\n")
    (toy / "hold").unlink()
    until(lambda: ended(child))
    parent.communicate()
    assert not (toy / "data/tokenize").exists()
    assert runs(toy) == ["tokenize KILLED"]


def test_in_an_environment_of_another_clone_the_code_of_the_folder_runs(toy):
    module = toy / "src/llmill/stages/tokenize.py"
    imports = "from llmill.stages.settings.tokenize import Tokenize\n"
    section = "class Parameters(Section):\n    tokenize: Tokenize\n"
    run = 'def run(params, job):\n    raise RuntimeError("this folder\'s code")\n'
    module.write_text(
        f"from llmill.contract.values import Section\n{imports}{section}{run}", encoding="utf-8"
    )
    write_code(toy, "tokenize")
    done = subprocess.run(
        [sys.executable, "-m", "llmill", "tokenize"],
        cwd=toy,
        env={**environment(**UNTRACKED), "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "RuntimeError: this folder's code" in done.stderr


def test_code_of_another_folder_that_cannot_be_changed_is_refused_in_one_line(toy):
    script = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import llmill.__main__ as m; m.main()"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(ROOT / "src"), "tokenize"],
        cwd=toy,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "llmill was imported from another folder than ./src" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_clone_that_was_moved_keeps_its_artifacts(toy):
    import mlflow

    assert finish(start(toy))[0] == 0
    moved = toy.rename(toy.with_name("moved"))
    (moved / "input.txt").write_text("other\n")
    assert finish(start(moved))[0] == 0
    outputs = [
        list(mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/outputs.json"))
        for run in every_run(client_of(moved))
    ]
    assert outputs == [["result"]] * 2
    assert not toy.exists()


def test_a_copy_in_which_dvc_runs_an_experiment_tracks_where_it_was_started(toy):
    copy = toy / ".dvc/tmp/exps/copy"
    shutil.copytree(toy, copy, ignore=shutil.ignore_patterns(".dvc", "mlflow.db"))
    words = (sys.executable, "-m", "llmill", "tokenize")
    assert finish(start(copy, *words, DVC_ROOT=str(toy)))[0] == 0
    assert runs(toy) == ["tokenize FINISHED"]
    assert list((toy / "mlruns").rglob("outputs.json"))
    assert not (copy / "mlflow.db").exists()
    assert not (copy / "mlruns").exists()


def test_a_tracking_server_that_is_away_is_said_once_and_stops_nothing(toy):
    code, _, err = finish(start(toy, MLFLOW_TRACKING_URI="http://127.0.0.1:9"))
    assert code == 0
    assert err.count("llmill: tracking is off for the rest of this stage") == 1
    assert (toy / "data/tokenize/record.json").exists()


def test_two_stages_that_create_the_database_at_once_both_track(toy):
    (toy / "mlflow.db").unlink()
    other = toy / "dvc.yaml"
    other.write_text(DVC.replace("  tokenize:\n", "  tokenize:\n    matrix: {v: [a, b]}\n").replace(
        "tokenize\n    params", "tokenize ${item.v}\n    params").replace("/tokenize\"", "/tokenize/${item.v}\""))  # fmt: skip
    words = [(sys.executable, "-m", "llmill", "tokenize", v) for v in "ab"]
    processes = [start(toy, *w) for w in words]
    results = [finish(p) for p in processes]
    assert [code for code, _, _ in results] == [0, 0]
    assert [err for _, _, err in results] == ["", ""]
    assert sorted(runs(toy)) == ["tokenize@a FINISHED", "tokenize@b FINISHED"]


def test_an_undeclared_read_fails_under_audit(toy):
    (toy / "results").mkdir()
    (toy / "results" / "secret").write_text("x")
    module = toy / "src/llmill/stages/tokenize.py"
    module.write_text(
        module.read_text() + '\n_run = run\ndef run(params, job):\n    open("results/secret")\n'
    )
    write_code(toy, "tokenize")
    done = finish(start(toy, LLMILL_AUDIT="1", **UNTRACKED))
    assert done[0] == 1
    assert "results/secret: opened, but no dependency in dvc.yaml" in done[2]


def test_an_import_of_what_the_code_does_not_name_fails_under_audit(toy):
    module = toy / "src/llmill/stages/tokenize.py"
    module.write_text(
        module.read_text() + "\n_run = run\ndef run(params, job):\n    _run(params, job)\n"
        '    __import__("importlib").import_module("llmill.evaluation.statistics.newton")\n'
    )
    write_code(toy, "tokenize")
    done = finish(start(toy, LLMILL_AUDIT="1", **UNTRACKED))
    assert done[0] == 1
    assert "llmill.evaluation.statistics.newton" in done[2]
    assert not (toy / "data/tokenize").exists()
