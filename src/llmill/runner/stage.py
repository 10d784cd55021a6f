"""Run one stage: checks, hashes, lock, tracking, the temporary folder and the record; then move
everything into place.

Input: a stage's name, variant and `run` function. Output: the stage's complete folder, or a
one-line error.
"""

import contextlib
import gc
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from filelock import FileLock, Timeout

from llmill.contract import ownership, pipeline, processes, record, source
from llmill.contract.countdown import tell
from llmill.contract.errors import Stopped, UserError
from llmill.contract.job import STATE, Job
from llmill.runner import audit, cost, launcher, params, scratch, skipping, streams, unchanged
from llmill.runner.stopping import Stop, signals
from llmill.runner.tracking import RUN_FILE, Track, mark_killed
from llmill.runner.unchanged import Given


@dataclass(frozen=True)
class RunRequest:
    """Everything known about a run before it has its folders."""

    stage: pipeline.Stage
    stages: dict[str, pipeline.Stage]
    parameters: dict[str, Any]
    stop: Stop
    experiment: str
    results: Path  # the root, also of logs and costs
    resume_anyway: bool
    skipped: str | None  # why nothing is run
    given: Given  # what a person may edit meanwhile


def execute(
    load: Callable[[], ModuleType], name: str, variant: str | None, resume_anyway: bool
) -> None:
    """Run a stage, its module's `run` with its `Parameters`, in the repository that is the working
    folder. The module is loaded only where it runs, because loading takes most of the time: not for
    a skipped stage, and not where torchrun's processes run it.
    """
    gc.disable()  # until all is imported: imports stay, and scanning them takes a while
    source.refuse_other_source()
    tree = params.load()
    stages = params.stages(tree)
    address = f"{name}@{variant}" if variant else name
    if address not in stages:
        raise UserError(_unknown(name, variant, pipeline.variants(stages, name)))
    stage = stages[address]
    ownership.refuse_foreign(Path(stage.out))
    values, given = params.values(tree, stage.params), unchanged.given(stage, stages)
    why = skipping.reason(stage) or skipping.switched_off(stage, values)
    process_count = launcher.process_count(tree, name)
    if process_count > 1 and not why and not processes.started():
        words = [name, *filter(None, [variant]), *["--resume-anyway"] * resume_anyway]
        launcher.launch(process_count, words, signals())
        return
    if why:
        work = partial(skipping.run, why)
    else:
        if processes.main():
            unchanged.refuse_other_code(stage)
        module = load()
        work = partial(module.run, params.select(tree, module.Parameters, stage))
    stop = Stop()
    stop.listen()
    begin = _lead if processes.main() else _follow
    results = Path(tree.paths.results)
    request = RunRequest(
        stage,
        stages,
        values,
        stop,
        tree.name,
        results,
        resume_anyway,
        why,
        given,
    )
    try:
        with begin(request) as job, audit.only(stage):
            gc.freeze()
            gc.enable()
            work(job)
    finally:
        stop.ignore()


@contextlib.contextmanager
def _lead(request: RunRequest) -> Iterator[Job]:
    """Lock, track, and put the folder in its place, as the first process."""
    stage, parameters = request.stage, request.parameters
    scratch.sweep()
    with _alone(scratch.ROOT / stage.address):
        _close_runs_of_the_dead(scratch.ROOT / stage.address)
        inputs = record.hash_inputs(stage.deps)
        say = partial(tell, stage.address)
        folder = scratch.claim(stage, parameters, inputs, request.resume_anyway, say)
        if not request.skipped:  # log and cost are those of the last real run
            streams.copy_to(stage.log(request.results), append=(folder / STATE).exists())
        out = record.temporary_sibling(Path(stage.out))
        track = Track(folder, off=request.skipped is not None)
        job = Job(stage, request.stages, out, folder, track, request.stop)
        try:
            with _tracked(track, request, job, inputs) as finished:
                yield job
                request.stop.ignore()
                unchanged.refuse_edits(stage, request.stages, request.given)
                sha256 = record.write(job.out, stage.address, parameters, inputs)
                finished(sha256, record.outputs(job.out))
        except BaseException:
            shutil.rmtree(job.out, ignore_errors=True)
            raise
        _remove_rest(Path(stage.out))
        record.publish(job.out, Path(stage.out))
        scratch.end(folder, Path(stage.out))
        if request.skipped:
            return
        try:
            cost.write(stage.cost(request.results), sha256)
        except OSError as error:  # the result is valid without it
            say(f"what it took is not written down: {error.strerror}")


def _unknown(name: str, variant: str | None, variants: list[str]) -> str:
    if not variants:
        return f"{name}: has no variants; `llmill {name}` runs it"
    said = f"{name}: needs a variant" if variant is None else f"{name}: no variant '{variant}'"
    return f"{said}, one of {', '.join(variants)}"


def _remove_rest(out: Path) -> None:
    """Make room where a kill left one of llmill's results without its record."""
    ownership.refuse_foreign(out)
    if out.is_dir() and not (out / record.NAME).exists():
        shutil.rmtree(out)


@contextlib.contextmanager
def _follow(request: RunRequest) -> Iterator[Job]:
    """Compute as another process of the same stage, and leave the rest to the first."""
    stage = request.stage
    inputs = record.hash_inputs(stage.deps)
    folder = scratch.folder(stage, request.parameters, inputs)
    track = Track(folder, off=True)
    yield Job(stage, request.stages, Path(f"{stage.out}.tmp"), folder, track, request.stop)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / "lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
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
    """Close runs that a kill left open, under these parameters or others: nobody holds the stage's
    lock any more.
    """
    for file in sorted(folder.glob(f"*/{RUN_FILE}")):
        with contextlib.suppress(
            Exception
        ):  # tracking never stops a stage; `Track.start` says what is wrong
            mark_killed(file)


@contextlib.contextmanager
def _tracked(
    track: Track, request: RunRequest, job: Job, inputs: dict[str, str]
) -> Iterator[Callable[[str, dict[str, Any]], None]]:
    """Open the stage's MLflow run, and close it with the stage's outcome."""
    stop = request.stop
    with stop.deferred():  # MLflow's imports would swallow an exception raised amid them
        track.start(request.experiment, job.stage.address, request.parameters, inputs)
        for path in job.stage.data:
            track.dataset(path, path, inputs[path])
        for parent in job.parents:
            parent_record = Path(parent.out, record.NAME)
            if parent_record.exists():
                track.parent(parent.address, record.sha256_file(parent_record))
        if (job.scratch / scratch.NOT_EXACT).exists():
            track.tag("llmill.exact", "false")
    try:
        stop.raise_if_asked()
        yield lambda sha256, outputs: track.finish("FINISHED", sha256, outputs)
    except (Stopped, KeyboardInterrupt):
        stop.ignore()  # the ending must not be interrupted
        track.finish("KILLED")
        raise
    except BaseException:
        stop.ignore()
        track.finish("FAILED")
        raise
