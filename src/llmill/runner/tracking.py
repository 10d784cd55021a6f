"""MLflow, which only this module imports: one run per stage that really ran.

The run's id is in the stage's scratch folder, so that a stage that was killed continues its run. A
tracking failure never stops a stage: it is reported once, and the rest of the run is untracked.
"""

import contextlib
import functools
import json
import logging
import os
import platform
import re
import sqlite3
import subprocess
import sys
import time
import urllib.parse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from llmill.contract import printable, record
from llmill.contract.errors import UserError
from llmill.contract.job import STATE

URI = "MLFLOW_TRACKING_URI"
SWITCH = "LLMILL_TRACKING"  # `off`: no runs, and MLflow is not imported
DATABASE, ARTIFACTS = "mlflow.db", "mlruns"  # used if no server is named
RUN_FILE = "mlflow_run.json"
RECORD_TAG = "llmill.record"
EXPERIMENT_TAG = "dvc.experiment"  # as `dvc exp` names it
PARENT_TAG = "llmill.parent."  # prefix of the stage whose run made an input
USER = re.compile(r"//[^/\s]*@")  # user and password in an address
# Characters that MLflow refuses in a name; it takes names for paths, so a slash needs both sides.
NAMED = re.compile(r"[^\w. /:-]|(?<!\w)/|/(?!\w)")
SYSTEM = "system/"  # prefix of the machine's metrics
DIGEST_LENGTH = 36  # characters in MLflow's column


def home() -> Path:
    """Return the repository that keeps the runs. DVC deletes the copy in which it runs an
    experiment by itself, and names the repository that it was started in.
    """
    here = Path.cwd()
    started_in = Path(os.environ.get("DVC_ROOT", here))
    return started_in if here.is_relative_to(started_in / ".dvc" / "tmp") else here


def uri() -> str:
    """Return the tracking URI from the environment, else a file in the root of the repository."""
    return os.environ.get(URI) or own_uri()


def shown_uri() -> str:
    """Return the tracking URI without its password."""
    return USER.sub("//", uri())


def switched_off() -> bool:
    """Return whether the environment switches tracking off."""
    return os.environ.get(SWITCH, "") == "off"


def own_uri() -> str:
    """Return the URI of the file in the root of the repository."""
    return f"sqlite:///{home() / DATABASE}"


def describe(error: Exception) -> str:
    """Return MLflow's message, short and on one line, because its errors quote whole replies."""
    return USER.sub("//", " ".join(str(error).split()))[:200]


def guarded(call: Callable[..., None]) -> Callable[..., None]:
    """Make a failing call switch tracking off, with one line, and continue."""

    @functools.wraps(call)
    def safely(self: "Track", *args: Any, **kwargs: Any) -> None:
        if self.off:
            return
        try:
            call(self, *args, **kwargs)
        except Exception as error:
            self.off = True
            reason = printable.line(describe(error))
            print(
                f"llmill: tracking is off for the rest of this stage: {reason}",
                file=sys.stderr,
                flush=True,
            )

    return safely


class Track:
    """The MLflow run of one stage; nothing is tracked if it is off, or the environment says so."""

    def __init__(self, scratch: Path, off: bool = False):
        self.off = off or switched_off()
        self._file = scratch / RUN_FILE
        self._state = scratch / STATE
        self._logged: set[tuple[str, int]] = set()  # names and steps in a run that continues
        self._opened = False

    @guarded
    def start(
        self, experiment: str, name: str, parameters: dict[str, Any], inputs: dict[str, str]
    ) -> None:
        """Open the run, or continue the one that a killed stage left; log what is known before the
        work.
        """
        mlflow = _mlflow()
        _open_experiment(experiment)
        left = self._left()
        if left:  # it stays in its experiment, though `name` may be another now
            mlflow.set_experiment(experiment_id=_experiment_of(left))
        run = mlflow.start_run(run_id=left, run_name=name, log_system_metrics=True)
        self._opened = True
        record.write_json(self._file, {"run_id": run.info.run_id})
        if left:
            self._logged = _logged(mlflow.MlflowClient(), left)
        else:
            mlflow.log_params({NAMED.sub("_", k): v for k, v in record.flat(parameters).items()})
        mlflow.set_tags(_surroundings())
        mlflow.log_dict(inputs, "inputs.json")

    def _left(self) -> str | None:
        """Return the run that a killed stage left, or None if it is no longer on this server."""
        try:
            left = str(json.loads(self._file.read_text())["run_id"])
        except (OSError, ValueError, KeyError, TypeError):  # no file, or half of one
            return None
        client = _mlflow().MlflowClient()
        try:
            gone = client.get_run(left).info.lifecycle_stage == "deleted"
        except Exception as error:  # each kind of store has its own errors
            if getattr(error, "error_code", "") != "RESOURCE_DOES_NOT_EXIST":
                raise
            gone = True
        if gone:
            return None
        client.set_terminated(left, "KILLED")
        return left

    @guarded
    def dataset(self, name: str, path: str, digest: str) -> None:
        """Log an input data set, with its content hash as digest."""
        mlflow = _mlflow()
        from mlflow.data.code_dataset_source import CodeDatasetSource
        from mlflow.data.meta_dataset import MetaDataset

        source = CodeDatasetSource(tags={"path": path, "sha256": digest})
        # MLflow lets `profile` be abstract in a class that it instantiates itself.
        dataset = MetaDataset(source, name=name, digest=digest[:DIGEST_LENGTH])  # type: ignore[abstract]
        mlflow.log_input(dataset, context=name)

    @guarded
    def parent(self, stage: str, record: str) -> None:
        """Link the run that made an input, found by the hash of its record."""
        mlflow = _mlflow()
        found = mlflow.search_runs(
            filter_string=f"tags.`{RECORD_TAG}` = '{record}'",
            search_all_experiments=True,
            max_results=1,
            output_format="list",
        )
        if found:
            name = stage.replace("@", "/")  # MLflow refuses other signs
            mlflow.set_tag(f"{PARENT_TAG}{name}", found[0].info.run_id)

    @guarded
    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """Log the metrics of one interval, except those that a run from before a kill has."""
        named = {NAMED.sub("_", name): float(value) for name, value in values.items()}
        new = {name: value for name, value in named.items() if (name, step) not in self._logged}
        if new:
            _mlflow().log_metrics(new, step=step)

    @guarded
    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Log rows (samples, predictions) as an MLflow table."""
        if rows:
            keys = dict.fromkeys(key for row in rows for key in row)
            columns = {key: [row.get(key) for row in rows] for key in keys}
            _mlflow().log_table(columns, f"{name}.json")

    @guarded
    def picture(self, file: Path) -> None:
        """Log a picture that the stage has written."""
        _mlflow().log_artifact(str(file))

    @guarded
    def text(self, name: str, text: str) -> None:
        """Log a text file."""
        _mlflow().log_text(text, name)

    @guarded
    def tag(self, name: str, value: str) -> None:
        """Set a tag of the run."""
        _mlflow().set_tag(name, value)

    def finish(
        self, status: str, sha256: str | None = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Close the run as FINISHED, FAILED or KILLED, even if an earlier call failed: MLflow would
        count it as finished. A stage with a state to continue from also keeps its run.
        """
        if self.off and self._opened:
            with contextlib.suppress(Exception):  # the earlier failure was reported
                self._finish(status, sha256, outputs)
        else:
            guarded(Track._finish)(self, status, sha256, outputs)

    def _finish(self, status: str, sha256: str | None, outputs: dict[str, Any] | None) -> None:
        mlflow = _mlflow()
        if sha256:
            mlflow.set_tag(RECORD_TAG, sha256)
            mlflow.log_dict(outputs, "outputs.json")
        mlflow.end_run(status)
        if status == "FAILED" and not self._state.exists():
            self._file.unlink(missing_ok=True)


def _open_experiment(name: str) -> None:
    """Open the experiment; create it if it is missing. MLflow stores the location of artifacts as
    an absolute path: if the repository was moved, the paths move with it.
    """
    mlflow = _mlflow()
    lock = home() / "scratch" / "mlflow.lock"
    lock.parent.mkdir(exist_ok=True)
    with FileLock(lock):
        if uri() == own_uri():
            if mlflow.get_experiment_by_name(name) is None:
                place = home() / ARTIFACTS / urllib.parse.quote(name, safe=" ")
                mlflow.create_experiment(name, artifact_location=str(place))
            _follow(home() / DATABASE, home() / ARTIFACTS)
        mlflow.set_experiment(name)


def _follow(database: Path, artifacts: Path) -> None:
    """Move the location of every experiment and run from a folder of this name elsewhere to this
    one, if its files are here. Any other location was chosen by somebody.
    """
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            rows = connection.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall()
            for (place,) in rows:
                _, name, below = str(place).rpartition(f"/{ARTIFACTS}/")
                moved = f"{artifacts}/{below}"
                if name and str(place).startswith("/") and place != moved and Path(moved).exists():
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (moved, place)
                    )


@functools.cache
def _mlflow() -> Any:
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    warnings.filterwarnings("ignore", module="mlflow")
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(uri())
    return mlflow


def mark_killed(run_file: Path) -> None:
    """Mark the run that a vanished stage left open as killed, unless it ended by itself."""
    mlflow = _mlflow()
    run_id = json.loads(run_file.read_text())["run_id"]
    client = mlflow.MlflowClient()
    if client.get_run(run_id).info.status == "RUNNING":
        client.set_terminated(run_id, "KILLED")


def _logged(client: Any, run_id: str) -> set[tuple[str, int]]:
    """Return names and steps of the metrics of a run, except those of the machine."""
    names = [n for n in client.get_run(run_id).data.metrics if not n.startswith(SYSTEM)]
    return {(name, at.step) for name in names for at in client.get_metric_history(run_id, name)}


def _experiment_of(run_id: str) -> str:
    return str(_mlflow().MlflowClient().get_run(run_id).info.experiment_id)


def experiment_id(name: str) -> str | None:
    """Return the id of an experiment, or None if it has no run yet or there is no database."""
    if uri() == own_uri() and not (home() / DATABASE).exists():
        return None
    try:
        experiment = _mlflow().get_experiment_by_name(name)
    except Exception as error:  # whatever is wrong with a server or its database
        raise UserError(f"{shown_uri()}: MLflow cannot read the runs: {describe(error)}") from None
    return experiment.experiment_id if experiment else None


@dataclass(frozen=True)
class Kept:
    """A run as MLflow keeps it: the last value of each metric, everything else as text."""

    id: str
    name: str
    started: str  # in UTC
    parameters: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    artifacts: str  # their location


def kept_runs(name: str) -> list[Kept]:
    """Return the runs with this id or name, newest first. Raises `UserError` on a failed read."""
    if uri() == own_uri() and not (home() / DATABASE).exists():
        return []
    quoted = name.replace("'", "")
    by = "run_id" if re.fullmatch("[0-9a-f]{32}", name) else "run_name"
    try:
        found = _mlflow().search_runs(
            filter_string=f"attributes.{by} = '{quoted}'",
            search_all_experiments=True,
            order_by=["attributes.start_time DESC"],
            output_format="list",
        )
    except Exception as error:  # whatever is wrong with a server or its database
        raise UserError(f"{shown_uri()}: MLflow cannot read the runs: {describe(error)}") from None
    return [
        Kept(
            run.info.run_id,
            run.info.run_name,
            time.strftime("%Y-%m-%d %H:%M", time.gmtime(run.info.start_time / 1000)),
            dict(run.data.params),
            {k: v for k, v in run.data.metrics.items() if not k.startswith(SYSTEM)},
            {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")},
            run.info.artifact_uri,
        )
        for run in found
    ]


def artifact(run: Kept, name: str) -> Any:
    """Return the value of a JSON file of a run, or None if it has no such file."""
    place = f"{run.artifacts}/{name}"
    try:
        local = Path(place.removeprefix("file://"))  # as in a repository; MLflow copies first
        text = local.read_text() if local.is_file() else _mlflow().artifacts.load_text(place)
        return json.loads(text)
    except Exception:  # each kind of store has its own errors
        return None


def runs_by_record() -> dict[str, dict[str, str]]:
    """Return run id and git commit by the hash of the record that the run wrote."""
    mlflow = _mlflow()
    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    return {
        run.data.tags[RECORD_TAG]: {
            "run_id": run.info.run_id,
            "commit": run.data.tags.get("git.commit", "-"),
            "dirty": run.data.tags.get("git.dirty", "-"),
        }
        for run in runs
        if RECORD_TAG in run.data.tags
    }


def _surroundings() -> dict[str, str]:
    """Return tags about code and machine, which may vary while the outputs stay the same."""
    torch = sys.modules.get("torch")
    gpu = torch.cuda.get_device_name() if torch and torch.cuda.is_available() else "none"
    experiment = os.environ.get("DVC_EXP_NAME")
    return {
        **({EXPERIMENT_TAG: experiment} if experiment else {}),
        "git.commit": _git("rev-parse", "HEAD"),
        "git.dirty": str(bool(_git("status", "--porcelain"))).lower(),
        "python": platform.python_version(),
        "torch": torch.__version__ if torch else "not used",
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "gpu": gpu,
    }


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
