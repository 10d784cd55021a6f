"""Find what upstream of a stage can have moved its metrics: the changes from which a path of
differing files leads to it, and the runs in DVC's cache that have only some of these changes.

A file that is the same on both sides passes nothing on, whatever changed upstream of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import Any

from llmill.comparison.cache import DvcCache
from llmill.comparison.stage_runs import StageRun, producer
from llmill.contract import closure

MISSING = "not there"  # for what only one side has
CODE = closure.STAGE
MOST_WAYS = 1000  # in which one cached run is interpreted

Sides = dict["Change", bool]  # whether each change has its value after


@dataclass(frozen=True, order=True)
class Change:
    """One thing that can move a metric by itself. `kind`: parameter, code, data, command; input, a
    file that only one side's `dvc.yaml` lets the stage read; bytes, an input that a stage made from
    the same on both sides but with other content, as on another machine.
    """

    kind: str
    name: str


@dataclass(frozen=True)
class Step:
    """Two runs of a stage; the second has some more changes."""

    changes: frozenset[Change]
    before: StageRun
    after: StageRun


@dataclass(frozen=True)
class Between:
    """Why a stage's output differs: the changes upstream, and the path through the cache."""

    address: str
    changes: frozenset[Change]
    own: frozenset[Change]  # changes of the stage itself
    steps: tuple[Step, ...]  # at least one; several if the cache holds runs between

    @property
    def is_known(self) -> bool:
        """Whether each step is one change."""
        return all(len(step.changes) == 1 for step in self.steps)


@dataclass
class Chains:
    """The chain before and after: what each stage was made from."""

    before: Mapping[str, StageRun]
    after: Mapping[str, StageRun]
    _upstream: dict[str, frozenset[Change]] = field(default_factory=dict)
    _placed: dict[tuple[str, str, str], list[Sides]] = field(default_factory=dict)

    @property
    def both(self) -> list[str]:
        """The stages that both sides have, in the order of the first."""
        return [address for address in self.before if address in self.after]

    def pair(self, address: str) -> tuple[StageRun, StageRun]:
        """Return a stage that both sides have, before and after."""
        return self.before[address], self.after[address]

    def differing(self, address: str) -> list[str]:
        """Return the dependencies whose content differs."""
        old, new = self.pair(address)
        paths = dict.fromkeys([*old.deps, *new.deps])
        return [path for path in paths if old.deps.get(path) != new.deps.get(path)]

    def maker(self, path: str) -> str | None:
        """Return the stage whose output a path is in, if it is the same on both sides."""
        stage = producer(self.after, path)
        return stage if stage and stage == producer(self.before, path) else None

    def own(self, address: str) -> dict[Change, tuple[Any, Any]]:
        """Return what changed in the stage itself, with the values before and after."""
        pair = self.pair(address)
        every = {change: _values(change, pair) for change in self._own_of(address)}
        return {change: values for change, values in every.items() if values[0] != values[1]}

    def inputs(self, address: str) -> dict[str, str]:
        """Return the stages that made the other differing dependencies, by path."""
        makers = {path: self.maker(path) for path in self.differing(address)}
        return {path: maker for path, maker in makers.items() if maker and maker != CODE}

    def upstream(self, address: str) -> frozenset[Change]:
        """Return every change from which a path of differing files leads to the stage, including
        its own.
        """
        if address not in self._upstream:
            changes = frozenset(self.own(address))
            for maker in dict.fromkeys(self.inputs(address).values()):
                changes |= self.upstream(maker)
            self._upstream[address] = changes
        return self._upstream[address]

    def between(self, address: str, cache: DvcCache) -> Between:
        """Return the longest path from before to after through runs that the cache holds."""
        changes = self.upstream(address)
        old, new = self.pair(address)
        runs: dict[frozenset[Change], StageRun] = {}
        if len(changes) > 1:
            known = (run for run in cache.runs({old.cmd, new.cmd}) if cache.has(run))
            for run in known:
                for sides in self._sides(address, run, cache):
                    runs.setdefault(_after(sides), run)
        runs |= {frozenset(): old, changes: new}
        way = _longest([some for some in runs if some <= changes], changes)
        steps = [Step(b - a, runs[a], runs[b]) for a, b in pairwise(way)]
        return Between(address, changes, frozenset(self.own(address)), tuple(steps))

    def _own_of(self, address: str) -> Iterator[Change]:
        old, new = self.pair(address)
        yield Change("command", address)
        for name in dict.fromkeys([*old.parameters, *new.parameters]):
            yield Change("parameter", name)
        for path in dict.fromkeys([*old.deps, *new.deps]):
            maker = self.maker(path)
            if path not in old.deps or path not in new.deps:
                yield Change("input", path)
            elif maker == CODE or maker is None:
                yield Change(CODE if maker == CODE else "data", path)
            elif old.deps[path] != new.deps[path] and not self.upstream(maker):
                yield Change("bytes", path)

    def _sides(self, address: str, run: StageRun, cache: DvcCache) -> Iterator[Sides]:
        """Yield on which side a run has each change upstream; nothing for a run that is not
        between.
        """
        old, new = self.pair(address)
        sides: Sides = {}
        own = [*self._own_of(address)]
        for change in own:
            (before, after), has = _values(change, (old, new)), _value(change, run)
            if has not in (before, after):
                return
            if before != after:
                sides[change] = has == after
        if set(run.parameters) - {change.name for change in own if change.kind == "parameter"}:
            return
        ways: list[list[Sides]] = [[sides]]
        for path, maker in self._common_inputs(address).items():
            contents = old.deps[path], new.deps[path], run.deps.get(path)
            ways.append([*self._of_input(maker, path, contents, cache)])
        if _count(ways) <= MOST_WAYS:
            yield from filter(None, map(_joined, product(*ways)))

    def _of_input(
        self, maker: str, path: str, contents: tuple[str, str, str | None], cache: DvcCache
    ) -> Iterator[Sides]:
        """Yield the sides of an input that a stage of the chain made. `contents`: its hash before,
        after, and in the run.
        """
        old, new, md5 = contents
        if old == new == md5:
            yield {}
            return
        if md5 in (old, new):
            yield dict.fromkeys(self.upstream(maker), md5 == new)
        # A run with some changes may have made the same file, which shows that they move nothing.
        if old != new and md5 is not None:
            yield from self._makers(maker, path, md5, cache)

    def _makers(self, maker: str, path: str, md5: str, cache: DvcCache) -> list[Sides]:
        """Return every way in which a cached run of a stage has made a file with this content."""
        if (maker, path, md5) not in self._placed:
            before, after = self.pair(maker)
            self._placed[maker, path, md5] = [
                sides
                for run in cache.runs({before.cmd, after.cmd})
                if cache.hash_of(run, path) == md5
                for sides in self._sides(maker, run, cache)
            ]
        return self._placed[maker, path, md5]

    def _common_inputs(self, address: str) -> dict[str, str]:
        """Return the dependencies that stages made on both sides, by path; code does not count."""
        old, new = self.pair(address)
        makers = {path: self.maker(path) for path in old.deps if path in new.deps}
        return {path: maker for path, maker in makers.items() if maker and maker != CODE}


def _value(change: Change, run: StageRun) -> Any:
    if change.kind == "parameter":
        return run.parameters.get(change.name, MISSING)
    return run.cmd if change.kind == "command" else run.deps.get(change.name, MISSING)


def _values(change: Change, pair: tuple[StageRun, StageRun]) -> tuple[Any, Any]:
    return _value(change, pair[0]), _value(change, pair[1])


def _after(sides: Sides) -> frozenset[Change]:
    return frozenset(change for change, is_after in sides.items() if is_after)


def _joined(parts: tuple[Sides, ...]) -> Sides | None:
    """Join all parts into one; return None if two of them disagree on a change."""
    joined: Sides = {}
    for part in parts:
        if any(joined.get(change, side) != side for change, side in part.items()):
            return None
        joined |= part
    return joined


def _count(ways: list[list[Sides]]) -> int:
    count = 1
    for each in ways:
        count *= len(each)
    return count


def _longest(known: list[frozenset[Change]], last: frozenset[Change]) -> list[frozenset[Change]]:
    """Return the longest ascending chain of sets that ends in `last`; among equals, the first by
    name.
    """
    best: dict[frozenset[Change], list[frozenset[Change]]] = {}
    for some in sorted(known, key=lambda each: (len(each), sorted(each))):
        below = [best[each] for each in best if each < some]
        best[some] = [*max(below, key=len, default=[]), some]
    return best[last]
