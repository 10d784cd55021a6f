"""Compare two revisions, from what git and DVC hold of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from llmill.comparison import figures, items, workspace
from llmill.comparison.cache import DvcCache
from llmill.comparison.causes import CODE, Between, Chains, Change, Step
from llmill.comparison.differences import (
    Difference,
    StageRow,
    differences,
    edited_since,
    stage_rows,
)
from llmill.comparison.figures import Figure
from llmill.comparison.items import ItemMetrics, Paired
from llmill.comparison.outputs import Outputs, Read
from llmill.comparison.reasons import Reason, StepFigure, named, said
from llmill.comparison.revisions import Revision
from llmill.comparison.stage_runs import StageRun, read_lock
from llmill.contract import pipeline, yaml_file
from llmill.contract.errors import UserError

Values = dict[Change, tuple[Any, Any]]
REPORT, SUMMARY, METRICS = "report", "summary.json", "metrics.json"


@dataclass(frozen=True)
class MetricRow:
    """A metric that moved, with both sides on the same items if their stages kept them."""

    figure: Figure
    paired: Paired | None


@dataclass
class Comparison:
    """Everything that is shown of two sides."""

    titles: tuple[str, str]
    subjects: tuple[str, str]
    differences: list[Difference] = field(default_factory=list)
    stages: list[StageRow] = field(default_factory=list)
    n_stages: int = 0
    headlines: list[MetricRow] = field(default_factory=list)
    still: int = 0  # headline metrics that did not move
    alone: int = 0  # headline metrics of one side only
    others: dict[str, list[MetricRow]] = field(default_factory=dict)  # by stage
    reasons: list[Reason] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)  # files that nobody has, by side

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        moved = self.headlines or self.others or self.alone
        return not (self.differences or self.stages or moved)


def compare(before: Revision, after: Revision, cache: DvcCache) -> Comparison:
    """Compare two revisions. Raises `UserError` unless the sides are two states of one pipeline."""
    sides = (before, after)
    locks = read(before), read(after)
    chains = Chains(*locks)
    if not chains.both:
        raise UserError(
            f"these are two pipelines: {before.title} has the stages {_listed(locks[0])}, and "
            f"{after.title} has the stages {_listed(locks[1])}"
        )
    outputs = Outputs(cache), Outputs(cache)
    comparison = Comparison(
        (before.title, after.title),
        (before.subject, after.subject),
        n_stages=len({*chains.before, *chains.after}),
    )
    for side, lock in zip(sides, locks, strict=True):
        comparison.notes += _gaps(side, lock)
    comparison.differences = differences(chains, sides, outputs, comparison.notes)
    comparison.stages = stage_rows(chains, cache)
    if not comparison.is_empty:  # else there is nothing to read
        _Figures(chains, outputs, comparison, sides).fill()
    comparison.missing = {
        side.title: files.missing
        for side, files in zip(sides, outputs, strict=True)
        if files.missing
    }
    return comparison


def read(side: Revision) -> dict[str, StageRun]:
    """Return the `dvc.lock` of a revision, in the order of its `dvc.yaml`. Raises `UserError` if it
    names no run.
    """
    lock = read_lock(_yaml(side, "dvc.lock"))
    order = [address for address in _stages(side) if address in lock]
    lock = {address: lock[address] for address in [*order, *lock]}
    if not lock:
        raise UserError(f"{side.title}: its dvc.lock lists no stage; run `dvc repro` there")
    return lock


def _stages(side: Revision) -> list[str]:
    return pipeline.addresses(_yaml(side, "dvc.yaml"))


def _yaml(side: Revision, path: str) -> Any:
    content = side.read(path)
    if content is None:
        raise UserError(
            f"{side.title}: has no {path}, so it is not a state of an llmill repository"
        )
    try:
        return yaml_file.parse(content.decode())
    except ValueError as error:
        raise UserError(yaml_file.one_line(f"{side.title}: {path}: not YAML: {error}")) from None


def _gaps(side: Revision, lock: Mapping[str, StageRun]) -> list[str]:
    """Return notes on stages that a side's lock lacks, and on parameters and files of the work tree
    that were edited since.
    """
    absent = [address for address in _stages(side) if address not in lock]
    edited = edited_since(lock, _yaml(side, "params.yaml"))
    notes = []
    if absent:
        notes.append(
            f"{side.title}: dvc.lock has no run of {', '.join(absent)}; run `dvc repro` there"
        )
    if edited:
        notes.append(
            f"{side.title}: params.yaml was edited after the runs in dvc.lock: {_some(edited)}"
        )
    if side.commit is None and (files := workspace.edited(lock)):
        notes.append(
            f"{side.title}: edited after the runs in dvc.lock: {_some(files)}; `llmill plan` shows "
            "what would run"
        )
    return notes


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:6])}{' and more' if len(names) > 6 else ''}"


def _listed(lock: Mapping[str, StageRun]) -> str:
    names = [*lock]
    return ", ".join(names[:4]) + (" ..." if len(names) > 4 else "")


class _Figures:
    """Fills in metrics, and why they moved; reads each differing result once."""

    def __init__(
        self,
        chains: Chains,
        outputs: tuple[Outputs, Outputs],
        comparison: Comparison,
        sides: tuple[Revision, Revision],
    ):
        self._chains, self._outputs, self._sides = chains, outputs, sides
        self._comparison = comparison
        self._cache = outputs[0].cache
        self._between = Outputs(self._cache)  # what is missing there is not counted for the sides
        self._reasons: dict[Any, tuple[Between, Values, Reason]] = {}
        self._item_metrics: dict[tuple[str, ...], ItemMetrics] = {}
        self._metrics: dict[tuple[str, ...], Any] = {}

    def fill(self) -> None:
        """Fill in all of them."""
        chains, comparison = self._chains, self._comparison
        metrics = {
            address: self._of_pair(address)
            for address in chains.both
            if address not in (CODE, REPORT) and _differ(*chains.pair(address))
        }
        every = [*chains.before, *chains.after]
        headlines = figures.headlines(self._summaries(), metrics, every, chains.both)
        moved = [figure for figure in headlines if figure.has_moved]
        comparison.alone = sum(figure.is_alone for figure in headlines)
        comparison.still = sum(figure.has_stayed for figure in headlines)
        comparison.headlines = [self._row(figure, figure.key) for figure in moved]
        for address, pair in metrics.items():
            rows = [self._row(figure, None) for figure in figures.others(address, pair)]
            if rows:
                comparison.others[address] = rows
        for address, pair in metrics.items():
            if address in comparison.others or None in pair:
                self._explain(address, [f for f in moved if f.address == address])
        for between, values, reason in self._reasons.values():
            own = (change for change in between.changes if change.kind != "bytes")
            files = {change: self._file(change) for change in own}
            reason.is_open = len(between.changes) > 1 and len(between.steps) == 1
            reason.said = said(between, values, self._sides, reason.addresses, files)
            self._comparison.reasons.append(reason)

    def _summaries(self) -> tuple[Any, Any]:
        locks = (self._chains.before, self._chains.after)
        old, new = (
            files.reader(lock[REPORT])(SUMMARY) if REPORT in lock else None
            for files, lock in zip(self._outputs, locks, strict=True)
        )
        return old, new

    def _of_pair(self, address: str) -> tuple[Any, Any]:
        before, after = self._chains.pair(address)
        return self._metrics_of(address, before), self._metrics_of(address, after)

    def _metrics_of(self, address: str, run: StageRun) -> Any:
        key = tuple(run.outs.values())
        if key not in self._metrics:
            self._metrics[key] = self._reader(address, run)(METRICS)
        return self._metrics[key]

    def _reader(self, address: str, run: StageRun) -> Read:
        before, after = self._chains.pair(address)
        one = self._outputs[0] if run is before else self._between
        return (self._outputs[1] if run is after else one).reader(run)

    def _item_metrics_of(self, address: str, run: StageRun) -> ItemMetrics:
        key = (address, *run.outs.values())
        if key not in self._item_metrics:
            self._item_metrics[key] = items.item_metrics(address, self._reader(address, run))
        return self._item_metrics[key]

    def _row(self, figure: Figure, key: str | None) -> MetricRow:
        if key is None or figure.address not in self._chains.both:
            return MetricRow(figure, None)
        return MetricRow(
            figure, self._paired(figure.address, key, *self._chains.pair(figure.address))
        )

    def _paired(self, address: str, key: str, before: StageRun, after: StageRun) -> Paired | None:
        old, new = (self._item_metrics_of(address, run).get(key) for run in (before, after))
        return items.paired(old, new) if old and new else None

    def _explain(self, address: str, moved: list[Figure]) -> None:
        between = self._chains.between(address, self._cache)
        values = self._values(address)
        key = (between.changes, *(step.changes for step in between.steps))
        *_, reason = self._reasons.setdefault(key, (between, values, Reason([])))
        reason.addresses.append(address)
        if len(between.steps) > 1:
            reason.figures += [
                self._step(figure, step, named(step.changes, values))
                for figure in moved
                if figures.place(figure.key, {address})[1]  # the report computes the others
                for step in between.steps
            ]

    def _file(self, change: Change) -> str:
        """Return a file that holds a change."""
        if change.kind != CODE:
            return "dvc.yaml" if change.kind == "command" else change.name
        stage = PurePosixPath(change.name).stem
        of_stage = [each for each in self._comparison.differences if stage in each.stages]
        modules = [each.name for each in of_stage if each.kind == CODE]
        tables = [name for name in modules if "/" in name]
        dotted = [f"{name.replace('.', '/')}.py" for name in modules if "/" not in name]
        return f"src/{(dotted or tables or ['llmill'])[0]}"

    def _step(self, figure: Figure, step: Step, by: str) -> StepFigure:
        before, after = (
            figures.at(figure.key, figure.address, self._metrics_of(figure.address, run))
            for run in (step.before, step.after)
        )
        paired = self._paired(figure.address, figure.key, step.before, step.after)
        shown = Figure(
            figure.key, figure.address, figure.group, figure.name, figure.unit, before, after
        )
        return StepFigure(f"{figure.group}, {figure.name}", by, shown, paired)

    def _values(self, address: str) -> Values:
        """Return the values of every change upstream of a stage."""
        values: Values = {}
        todo, seen = [address], {address}
        while todo:
            one = todo.pop()
            values |= self._chains.own(one)
            new = {*self._chains.inputs(one).values()} - seen
            todo, seen = [*todo, *new], seen | new
        return values


def _differ(before: StageRun, after: StageRun) -> bool:
    return before.outs != after.outs
