"""Find what `dvc repro` would do with every stage, without doing it, from DVC's own objects in
DVC's own order.

A stage that runs makes files that are not known yet, so a later stage may or may not run. Some
files can be predicted: stages `paths` and `code` write what the present source implies, and a
record names the parameters and inputs of its run, so it differs if they do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.plan import reasons
from llmill.plan.idle import idle_repo
from llmill.plan.run_cache import Entry, RunCache, as_entry, hash_in
from llmill.runner import params, skipping
from llmill.runner.tree import Params
from llmill.stages import code, paths

if TYPE_CHECKING:
    from dvc.dependency import Dependency, ParamsDependency
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import PipelineStage
    from dvc_data.hashfile.hash_info import HashInfo

    from llmill.contract.pipeline import Stage

Verdict = Literal["run", "may run", "skip", "restore", "leave"]


@dataclass(frozen=True)
class Forecast:
    """What `dvc repro` would do with a stage, and the reasons."""

    verdict: Verdict
    reasons: list[str]


@dataclass(frozen=True)
class Input:
    """A dependency as a stage will find it, compared with `dvc.lock`."""

    path: str
    differs: bool | None  # None: not known before the stage that makes it has run
    reasons: list[str] = field(default_factory=list)
    after: str | None = None  # the stage that makes it, if its content is not known
    is_new: bool = False  # new, so DVC has no result that was made from it


@dataclass(frozen=True)
class FutureOutput:
    """The output of a stage that will run or be restored, as far as it is known."""

    stage: str
    out: Output
    folder: HashInfo | None = None  # of a restored result
    files: dict[str, HashInfo] = field(default_factory=dict)  # the predicted files of a run
    record_differs: bool = False  # from the one in `dvc.lock`
    record_is_new: bool = False

    def name_of(self, dep: Dependency) -> str:
        """Return the path of a dependency inside the folder."""
        return Path(dep.fs_path).relative_to(self.out.fs_path).as_posix()


def foresee(tree: Params, stages: dict[str, Stage]) -> dict[str, Forecast]:
    """Return the forecast of each stage, by address.

    Raises `UserError` if DVC is busy, cannot work, or would stop.
    """
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    with idle_repo() as repo:
        dry_run = DryRun(repo, tree, stages)
        graph = get_active_graph(repo.index.graph)
        for stage in plan_repro(graph, collect_stages(repo, ["dvc.yaml"])):
            if stage.cmd:
                dry_run.look_at(stage)
            else:  # the user's own files, taken as they are
                _refuse_missing(stage)
        forecasts = {address: dry_run.forecasts[address] for address in stages}
        for address, why in skipping.foreseen(tree, stages).items():
            if forecasts[address].verdict in ("run", "may run"):
                forecasts[address] = Forecast("skip", [why])
        return forecasts


def _refuse_missing(stage: PipelineStage) -> None:
    """Raise `UserError` for files of `dvc add` that nobody brought here: DVC would stop there."""
    for out in stage.outs:
        if not out.exists:
            raise UserError(f"{out}: it is not here; `dvc pull {out}` brings it")


class DryRun:
    """Looks at one stage after another, and keeps what the earlier stages will have made."""

    def __init__(self, repo: Repo, tree: Params, stages: dict[str, Stage]):
        self.forecasts: dict[str, Forecast] = {}
        self._repo, self._tree, self._stages = repo, tree, stages
        self._run_cache = RunCache(repo)
        self._outputs: list[FutureOutput] = []
        self._foretold: dict[str, Any] = {}  # the values of predicted files, by hash
        self._values: dict[str, dict[str, Any]] = {}  # parameters by the file that holds them

    def look_at(self, stage: PipelineStage) -> None:
        """Find the forecast of a stage; the stages before it must be known."""
        if stage.frozen:  # DVC takes it as it is
            self.forecasts[stage.addressing] = Forecast("leave", [])
            return
        listed = as_entry(stage)  # as in dvc.lock, before its inputs get their present hashes
        is_listed = all(out.hash_info for out in stage.outs)
        wrong = [reason for out in stage.outs for reason in reasons.of_output(out)]
        inputs = [self._input(stage, dep) for dep in stage.deps]
        entries = self._entries(stage, inputs)
        differs = stage.cmd_changed or not is_listed or any(each.differs for each in inputs)
        ways: dict[Verdict, Entry] = {}  # possible verdicts, each with its result
        if not differs:  # except for unknown inputs
            ways |= self._checked_out(stage, listed) if wrong else {"leave": listed}
        if any(each.after for each in inputs):
            ways |= {"run": {}}
            for entry in entries:
                ways |= self._checked_out(stage, entry)
        elif differs:
            ways |= self._checked_out(stage, entries[0]) if entries else {"run": {}}
        verdict: Verdict = next(iter(ways)) if len(ways) == 1 else "may run"
        why = _why(stage, inputs, wrong) if is_listed else ["dvc.lock names no result of it"]
        self.forecasts[stage.addressing] = Forecast(verdict, why if verdict != "leave" else [])
        if verdict == "restore":
            self._outputs += _restored(stage, ways[verdict])
        elif verdict != "leave":
            other = verdict == "run" and (not is_listed or self._record_differs(stage, inputs))
            self._outputs += self._unseen(stage, verdict, other, is_new=other and not entries)

    def _entries(self, stage: PipelineStage, inputs: list[Input]) -> list[Entry]:
        """Return the results for these inputs in DVC's run cache, newest first."""
        unknown = {each.path for each in inputs if each.after}
        is_new = any(each.is_new for each in inputs)
        return [] if is_new else self._run_cache.entries(stage, unknown)

    def _checked_out(self, stage: PipelineStage, entry: Entry) -> dict[Verdict, Entry]:
        """Return how a result of the same inputs comes back: restored if DVC's cache still holds
        the files.
        """
        return {"restore": entry} if self._run_cache.is_whole(stage, entry) else {"run": entry}

    def _input(self, stage: PipelineStage, dep: Dependency) -> Input:
        """Return a dependency as it will be. DVC's object gets its hash, as before a run."""
        from dvc.dependency import ParamsDependency

        path, before = str(dep), dep.hash_info
        if isinstance(dep, ParamsDependency):
            self._set_parameters(dep)
            why = reasons.of_parameters(before.value or {}, dep.hash_info.value)
            return Input(path, dep.hash_info != before, why)
        output = self._output_with(dep)
        if output and not (output.folder or output.name_of(dep) in output.files):
            is_record = output.name_of(dep) == record.NAME
            differs = not before or (is_record and output.record_differs)
            is_new = is_record and output.record_is_new
            return Input(path, differs or None, after=output.stage, is_new=is_new)
        if not output and not dep.exists:
            raise UserError(f"{path}: missing; `dvc repro` would stop at {stage.addressing}")
        self._set_hash(dep, output)
        if dep.hash_info == before:
            return Input(path, False)
        if path in self._stages[stage.addressing].code:
            return Input(path, True, reasons.of_code(self._read(before), self._read(dep.hash_info)))
        return Input(path, True, [f"{path} changed"])

    def _set_parameters(self, dep: ParamsDependency) -> None:
        """Set its present values. DVC would parse the whole file again for each stage."""
        from dvc.dependency import ParamsDependency
        from dvc.dependency.param import read_param_file

        file = dep.fs_path
        if file not in self._values and dep.exists:
            deps = (each for stage in self._repo.index.stages for each in stage.deps)
            same = (d for d in deps if isinstance(d, ParamsDependency) and d.fs_path == file)
            keys = [key for each in same for key in each.params]
            self._values[file] = read_param_file(self._repo.fs, file, keys, flatten=True)
        values = self._values.get(file, {})
        if dep.params and values.keys() >= set(dep.params):
            dep.fill_values(values)
        else:  # the whole file, or a mistake
            dep.hash_info = dep.get_hash()

    def _output_with(self, dep: Dependency) -> FutureOutput | None:
        """Return the output that a dependency is in, if a stage will change it."""
        inside = self._repo.fs.isin_or_eq
        return next(
            (output for output in self._outputs if inside(dep.fs_path, output.out.fs_path)), None
        )

    def _set_hash(self, dep: Dependency, output: FutureOutput | None) -> None:
        from dvc_data.hashfile.meta import Meta
        from dvc_data.hashfile.tree import Tree

        if not output:
            dep.hash_info, dep.meta = dep.get_hash(), dep.get_meta()
            return
        name = output.name_of(dep)
        hash_info: HashInfo | None
        if output.folder is None:
            hash_info = output.files[name]
        elif name == ".":
            hash_info = output.folder
        else:
            parts: Any = tuple(name.split("/"))  # of any length, whatever DVC's annotation says
            tree = Tree.load(output.out.cache, output.folder)
            file = tree.get(parts)
            folder = None if file else tree.get_obj(output.out.cache, parts)
            hash_info = file[1] if file else folder.hash_info if folder else None
        if not hash_info:
            raise UserError(f"{dep}: {output.stage} makes none; `dvc repro` would stop after it")
        dep.hash_info, dep.meta = hash_info, Meta()

    def _unseen(
        self, stage: PipelineStage, verdict: Verdict, record_differs: bool, is_new: bool
    ) -> Iterator[FutureOutput]:
        """Yield what a run makes, which is not known except for what can be predicted."""
        from dvc_data.hashfile.hash_info import HashInfo

        files = {}
        if verdict == "run" and stage.addressing in FORETOLD:
            for name, value in FORETOLD[stage.addressing](self._tree, self._stages).items():
                md5 = hashlib.md5(record.to_json(value).encode(), usedforsecurity=False)
                files[name] = HashInfo("md5", md5.hexdigest())
                self._foretold[md5.hexdigest()] = value
        for out in stage.outs:
            yield FutureOutput(stage.addressing, out, None, files, record_differs, is_new)

    def _record_differs(self, stage: PipelineStage, inputs: list[Input]) -> bool:
        """Return whether the record of a run will surely differ: it names inputs and parameters,
        the latter as the schema reads them.
        """
        from dvc.dependency import ParamsDependency

        pairs = zip(stage.deps, inputs, strict=True)
        if any(each.differs for dep, each in pairs if not isinstance(dep, ParamsDependency)):
            return True
        ours = self._stages[stage.addressing]
        before = recorded_parameters(Path(ours.out, record.NAME))
        now = params.values(self._tree, ours.params)
        return before is not None and record.to_json(before) != record.to_json(now)

    def _read(self, of: HashInfo) -> Any:
        """Return a file of stage `code` by its hash, or None if nobody has it."""
        if of.value in self._foretold:
            return self._foretold[of.value]
        file = Path(self._repo.cache.local.oid_to_path(of.value)) if of else None
        return record.read_json(file) if file and file.exists() else None


FORETOLD: dict[str, Callable[[Params, dict[str, Stage]], dict[str, Any]]] = {
    "paths": lambda tree, stages: paths.files(tree.paths),
    "code": lambda tree, stages: code.files(stages),
}


def recorded_parameters(file: Path) -> Any:
    """Return the parameters in a record, or None if it is missing or has another version's form."""
    try:
        saved = record.read_json(file)
    except UserError:
        return None
    return saved.get("parameters") if isinstance(saved, dict) else None


def _restored(stage: PipelineStage, entry: Entry) -> Iterator[FutureOutput]:
    for out in stage.outs:
        yield FutureOutput(stage.addressing, out, hash_in(entry, out))


def _why(stage: PipelineStage, inputs: list[Input], wrong: list[str]) -> list[str]:
    command = ["its command in dvc.yaml changed"] if stage.cmd_changed else []
    after = dict.fromkeys(each.after for each in inputs if each.after)
    # A variant may name a folder twice: as its own, and as that of all variants.
    changes = list(dict.fromkeys(reason for each in inputs for reason in each.reasons))
    return command + changes + wrong + ([f"after {', '.join(after)}"] if after else [])
