"""Compare two MLflow runs of a stage, with the runs that made their inputs."""

from typing import Any

from llmill.comparison import items
from llmill.comparison.causes import CODE, MISSING
from llmill.comparison.chain import Comparison, MetricRow
from llmill.comparison.differences import KINDS, Difference
from llmill.comparison.figures import Figure
from llmill.comparison.items import ItemMetrics
from llmill.comparison.outputs import Read
from llmill.comparison.reasons import Reason
from llmill.contract.errors import UserError
from llmill.runner import tracking
from llmill.runner.tracking import EXPERIMENT_TAG, PARENT_TAG, RECORD_TAG, Kept

MOST = 5  # runs of a name that an error lists
COMMIT = "git.commit"
APART = (EXPERIMENT_TAG, RECORD_TAG, COMMIT)  # tags whose difference moves nothing
SHORT = 8


def find(name: str) -> Kept:
    """Return the run with an id or a name. Raises `UserError` if there is none, or several."""
    runs = tracking.kept_runs(name)
    if not runs:
        raise UserError(
            f"{name}: not a git revision, a DVC experiment (`dvc exp list --all-commits` lists "
            "them; a removed one is gone) or an MLflow run (`llmill runs` lists them)"
        )
    if len(runs) > 1:
        some = "; ".join(f"{run.id} of {run.started} UTC{_experiment(run)}" for run in runs[:MOST])
        raise UserError(
            f"{name}: {len(runs)} MLflow runs have this name; use an id instead: {some}"
        )
    return runs[0]


def compare(before: Kept, after: Kept) -> Comparison:
    """Compare two runs. Raises `UserError` for the same run twice, and for runs of two stages."""
    if before.id == after.id:
        raise UserError(f"{before.name}: both sides are the same MLflow run, so nothing differs")
    if _stage(before) != _stage(after):
        raise UserError(
            f"{before.name} and {after.name} are two stages and measure different things; "
            "compare two runs of one stage"
        )
    comparison = Comparison(
        (f"{before.name} {before.id[:SHORT]}", f"{after.name} {after.id[:SHORT]}"),
        tuple(f"of {run.started} UTC{_experiment(run)}" for run in (before, after)),  # type: ignore[arg-type]
    )
    sides = _chain(before), _chain(after)
    comparison.differences = _differences(*sides)
    old, new = (items.item_metrics(before.name, _reader(run)) for run in (before, after))
    comparison.headlines = [row for row in _rows(old, new, before.name) if row.figure.has_moved]
    comparison.still = len(old.keys() & new.keys()) - len(comparison.headlines)
    every = [
        Figure(name, before.name, before.name, name, "plain", *(r.get(name) for r in pair))
        for pair in [(before.metrics, after.metrics)]
        for name in sorted({*pair[0], *pair[1]})
    ]
    moved = [MetricRow(figure, None) for figure in every if figure.has_moved]
    if moved:
        comparison.others[before.name] = moved
        alone = sorted(({*sides[0]} ^ {*sides[1]}) - {before.name, after.name})
        comparison.reasons.append(Reason([before.name], _said(comparison.differences, alone)))
    return comparison


def _said(differences: list[Difference], alone: list[str]) -> str:
    """Return why metrics differ. `alone`: the stages upstream of only one run."""
    changes = [each for each in differences if each.kind != "tag"]
    names = ", ".join(map(_named, changes[:MOST]))
    if alone and not changes:
        return f"only one of the runs reads the output of {', '.join(alone)}"
    if not changes:
        return "the parameters and inputs of these runs and of the runs upstream are the same"
    if len(changes) == 1:
        return f"the only change upstream is {names}"
    more = f" and {len(changes) - MOST} more" if len(changes) > MOST else ""
    return (
        f"{len(changes)} changes upstream, {names}{more}: two runs alone do not show which one "
        "moved the metrics; compare their commits, because DVC's cache may have the runs in between"
    )


def _named(change: Difference) -> str:
    if change.kind == "parameter":
        return f"{change.name} {change.before} → {change.after}"
    return f"{change.kind} {change.name}"


def _chain(run: Kept) -> dict[str, Kept]:
    """Return the run and all runs that made its inputs, by stage."""
    chain: dict[str, Kept] = {}
    todo = [run]
    while todo:
        one = todo.pop()
        if one.name not in chain:
            chain[one.name] = one
            ids = [value for tag, value in one.tags.items() if tag.startswith(PARENT_TAG)]
            todo += [parent for id in ids for parent in tracking.kept_runs(id)]
    return chain


def _differences(before: dict[str, Kept], after: dict[str, Kept]) -> list[Difference]:
    """Return the differing parameters and inputs of all runs, and what else their tags show."""
    by_name: dict[tuple[str, str], Difference] = {}

    def note(kind: str, stage: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        for name in sorted({*old, *new}):
            pair = old.get(name, MISSING), new.get(name, MISSING)
            if pair[0] != pair[1]:
                of = CODE if kind == "data" and f"/{CODE}/" in name else kind
                each = by_name.setdefault((of, name), Difference(of, name, *pair))
                each.stages.append(stage)

    last = next(iter(before)), next(iter(after))
    pairs = {**{name: name for name in before if name in after}, last[0]: last[1]}
    for name, other in pairs.items():
        old, new = before[name], after[other]
        if old.id != new.id:
            note("parameter", name, old.parameters, new.parameters)
            note("data", name, _inputs(old, before), _inputs(new, after))
            note("tag", name, _tags(old), _tags(new))
    return sorted(by_name.values(), key=lambda each: ((*KINDS, "tag").index(each.kind), each.name))


def _inputs(run: Kept, chain: dict[str, Kept]) -> dict[str, str]:
    """Return short hashes of inputs that no run of the chain made; the others differ as their
    makers do.
    """
    listed = tracking.artifact(run, "inputs.json") or {}
    folders = tuple(
        part for name in chain for part in (f"/{name.replace('@', '/')}/", f"/{name}/") if name
    )
    return {
        path: str(digest)[:SHORT]
        for path, digest in listed.items()
        if f"/{CODE}/" in path or not any(part in f"/{path}/" for part in folders)
    }


def _tags(run: Kept) -> dict[str, str]:
    skipped = (*APART, "git.dirty")
    return {
        tag: value
        for tag, value in run.tags.items()
        if tag not in skipped and not tag.startswith(PARENT_TAG)
    }


def _reader(run: Kept) -> Read:
    """Return a function that reads the tables that a stage gave to MLflow, in the form of its own
    files.
    """

    def read(name: str) -> Any:
        table = tracking.artifact(run, name)
        if not isinstance(table, dict) or "columns" not in table:
            return None
        rows = [dict(zip(table["columns"], row, strict=False)) for row in table["data"]]
        if name != "predictions.json":
            return rows
        keys = ("text", "label")
        return [
            {key: row[key] for key in keys}
            | {"predictions": {k: v for k, v in row.items() if k not in keys}}
            for row in rows
        ]

    return read


def _rows(old: ItemMetrics, new: ItemMetrics, address: str) -> list[MetricRow]:
    """Return the means of every metric that both have, with the items in pairs."""
    rows = []
    for key in old.keys() & new.keys():
        means = [sum(m.values.values()) / len(m.values) for m in (old[key], new[key])]
        figure = Figure(key, address, address, key, new[key].unit, *means)
        rows.append(MetricRow(figure, items.paired(old[key], new[key])))
    return sorted(rows, key=lambda row: row.figure.key)


def _stage(run: Kept) -> str:
    return run.name.partition("@")[0]


def _experiment(run: Kept) -> str:
    name = run.tags.get(EXPERIMENT_TAG)
    return f", experiment {name}" if name else ""
