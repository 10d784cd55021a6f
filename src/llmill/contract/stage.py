"""Runs one stage: checks, hashes, lock, tracking, the temporary folder, the record; then everything
in its place.

In: a stage's name and variant and its `run` function. Out: the stage's folder, complete, or a one-
line error.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import llmill
from llmill.contract import audit, params, pipeline, record
from llmill.contract.errors import Stopped, UserError
from llmill.contract.stopping import Stop
from llmill.contract.tracking import RUN_FILE, Track, mark_killed

SCRATCH = Path("scratch")
STATE = "state"  # below a scratch folder: what a stage resumes from
CODE_FILE = "code.json"
RESUME_ANYWAY = "LLMILL_RESUME_ANYWAY"

Run = Callable[[params.Selected, "Job"], None]


@dataclass
class Job:
    """What a stage is handed besides its parameters."""

    stage: pipeline.Stage
    stages: dict[str, pipeline.Stage]
    out: Path
    scratch: Path
    track: Track
    stop: Stop

    @property
    def variant(self) -> str | None:
        """The matrix value of this run."""
        return self.stage.variant

    @property
    def inputs(self) -> list[Path]:
        """Every declared dependency."""
        return [Path(d) for d in self.stage.deps]

    @property
    def downloads(self) -> Path:
        """Where downloads, partial and finished, are kept."""
        return SCRATCH / "downloads"

    @property
    def state(self) -> Path:
        """Where a training saves what it resumes from."""
        return self.scratch / STATE

    def variants(self, name: str) -> list[str]:
        """The matrix values of a stage."""
        return pipeline.variants(self.stages, name)

    def say(self, text: str) -> None:
        """One plain line for a terminal or a log."""
        print(f"{self.stage.address}: {text}", flush=True)


def execute(run: Run, name: str, variant: str | None, resume_anyway: bool) -> None:
    """Run a stage in the repository that is the working folder."""
    refuse_other_source()
    tree = params.load()
    stages = pipeline.load({"paths": tree.paths.model_dump()})
    address = f"{name}@{variant}" if variant else name
    if address not in stages:
        known = [s.address for s in stages.values() if s.name == name]
        raise UserError(f"{address}: no such stage in dvc.yaml; there is {', '.join(known)}")
    stage = stages[address]
    chosen = params.select(tree, stage.params)
    stop = Stop()
    stop.listen()
    with _alone(SCRATCH / address):
        _close_runs_of_the_dead(SCRATCH / address)
        inputs = record.hash_inputs(stage.deps)
        scratch = _scratch(stage, chosen.dump(), inputs, resume_anyway)
        track = Track(scratch)
        job = Job(stage, stages, record.temporary_sibling(Path(stage.out)), scratch, track, stop)
        try:
            with _tracked(job, tree.name, chosen.dump(), inputs) as finished:
                with audit.only(stage):
                    run(chosen, job)
                sha256 = record.write(job.out, address, chosen.dump(), inputs)
                finished(sha256, record.outputs(job.out))
        except BaseException:
            shutil.rmtree(job.out, ignore_errors=True)
            raise
        record.publish(job.out, Path(stage.out))
        shutil.rmtree(scratch)


def refuse_other_source() -> None:
    """Stop unless llmill was imported from `src` of the folder worked in: DVC hashes that one."""
    here, there = Path("src/llmill").resolve(), Path(llmill.__file__).resolve().parent
    if here != there:
        raise UserError(
            "llmill was imported from another folder than ./src, whose code DVC hashes; "
            "work in the root of the repository, and in a clone set PYTHONPATH=src"
        )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{folder}: another process is running this stage; wait for it, or stop it"
        ) from None
    except PermissionError:
        raise UserError(f"{folder}: no permission to write; it belongs to another user") from None
    with lock:
        yield


def _close_runs_of_the_dead(folder: Path) -> None:
    """A run left open by a kill, under these parameters or others: nobody holds the stage's lock
    any more.
    """
    for file in sorted(folder.glob(f"*/{RUN_FILE}")):
        with contextlib.suppress(
            Exception
        ):  # tracking never stops a stage; `Track.start` says what is wrong
            mark_killed(file)


def _scratch(
    stage: pipeline.Stage, parameters: dict[str, Any], inputs: dict[str, str], resume_anyway: bool
) -> Path:
    """The scratch folder of these parameters and data; refuses a state that other code saved."""
    data = {path: inputs[path] for path in stage.data}
    fingerprint = record.sha256_text(record.to_json([parameters, data]))[:16]
    folder = SCRATCH / stage.address / fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    code = {path: inputs[path] for path in stage.code}
    saved = folder / CODE_FILE
    if (folder / STATE).exists() and saved.exists() and record.read_json(saved) != code:
        before = record.read_json(saved)
        changed = sorted(p for p in code.keys() | before.keys() if code.get(p) != before.get(p))
        if not (resume_anyway or os.environ.get(RESUME_ANYWAY)):
            raise UserError(
                f"{folder}: an interrupted run of other code ({', '.join(changed)}); "
                f"remove the folder to start anew, or set {RESUME_ANYWAY}=1 to continue it, "
                "marked as not exact"
            )
        record.write_json(folder / "not_exact.json", changed)
    record.write_json(saved, code)
    return folder


@contextlib.contextmanager
def _tracked(
    job: Job, experiment: str, parameters: dict[str, Any], inputs: dict[str, str]
) -> Iterator[Callable[[str, dict[str, Any]], None]]:
    """The stage's MLflow run, closed as what became of the stage."""
    track = job.track
    track.start(experiment, job.stage.address, parameters, inputs)
    for path in job.stage.data:
        track.dataset(path, path, inputs[path])
    for parent in pipeline.parents(job.stages, job.stage):
        parent_record = Path(parent.out, record.NAME)
        if parent_record.exists():
            track.parent(parent.address, record.sha256_file(parent_record))
    if (job.scratch / "not_exact.json").exists():
        track.tag("llmill.exact", "false")
    try:
        yield lambda sha256, outputs: track.finish("FINISHED", sha256, outputs)
    except (Stopped, KeyboardInterrupt):
        track.finish("KILLED")
        raise
    except BaseException:
        track.finish("FAILED")
        raise
